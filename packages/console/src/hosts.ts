import { isLoopback, isLoopbackHost } from "@jetrpc/gateway";
import { Code, ConnectError } from "@jetrpc/runtime";

/** The names under which browsers reach the console: a page of a stranger can have its own name lead here. */
export class Hosts {
  constructor(
    private readonly url: URL,
    private readonly port: number,
  ) {}

  /** Origins of the page: by the proxy, where there is one. */
  get origins(): string[] {
    return [this.url.origin];
  }

  /** True for a Host header that names the console. */
  isOwn(host: string | undefined): boolean {
    const name = (host ?? "").toLowerCase();
    return name === this.url.host || (isLoopbackHost(name) && name.endsWith(`:${this.port}`));
  }
}

/**
 * Refuses an address that strangers could reach, or that would show sessions to whoever listens on
 * the way. Throws InvalidArgument with the mend.
 */
export function checkAddress(host: string, url: string | undefined, hasLogin: boolean): void {
  if (url !== undefined && !URL.canParse(url)) {
    throw refused(`url ${url} is no address: give one like https://console.example.com`);
  }
  const address = url === undefined ? undefined : new URL(url);
  const isLocal = isLoopback(host) && (!address || isLoopback(address.hostname));
  if (isLocal) {
    return;
  }
  if (!hasLogin) {
    throw refused(
      `${address?.host ?? host} is not loopback, and without a login whoever reaches it could act: give a login (--oidc-issuer, --tokens or --jwks), or listen on 127.0.0.1`,
    );
  }
  if (address?.protocol !== "https:") {
    throw refused(
      "a console that others reach needs https: put a proxy before it that ends TLS, and name its address by --url https://console.example.com",
    );
  }
}

function refused(text: string): ConnectError {
  return new ConnectError(text, Code.InvalidArgument);
}
