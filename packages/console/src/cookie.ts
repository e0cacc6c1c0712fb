/** A cookie of this server: no script reads it. */
export class Cookie {
  private readonly name: string;

  /** Cookies are of a host, not of a port: the name keeps two consoles of a machine apart. */
  constructor(
    name: string,
    private readonly url: URL,
    private readonly sameSite: "Strict" | "Lax",
  ) {
    const port = url.port || (this.isSecure ? "443" : "80");
    this.name = `${this.isSecure ? "__Host-" : ""}${name}-${port}`;
  }

  /** Its value in a `Cookie` header; undefined when it is not there. */
  read(header = ""): string | undefined {
    const prefix = `${this.name}=`;
    const pair = header.split(";").find((each) => each.trim().startsWith(prefix));
    return pair?.trim().slice(prefix.length) || undefined;
  }

  /** A `Set-Cookie` header. */
  set(value: string, maxAgeMs: number): string {
    const secure = this.isSecure ? "; Secure" : "";
    return `${this.name}=${value}; Path=/; Max-Age=${Math.floor(maxAgeMs / 1000)}; HttpOnly; SameSite=${this.sameSite}${secure}`;
  }

  private get isSecure(): boolean {
    return this.url.protocol === "https:";
  }
}
