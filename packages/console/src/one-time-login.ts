import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Login, LoginAnswer } from "./login.js";
import type { User } from "./user.js";

/** Addresses at once that were not used yet. */
const maxTokens = 16;

/** A login on loopback by an address whose token works once. */
export class OneTimeLogin implements Login {
  readonly canRepeat = false;
  private readonly digests: Buffer[] = [];

  /** Makes a token. */
  newToken(): string {
    const token = randomBytes(32).toString("base64url");
    this.digests.push(digestOf(token));
    this.digests.splice(0, this.digests.length - maxTokens);
    return token;
  }

  async begin({ method }: IncomingMessage, url: URL): Promise<LoginAnswer> {
    const token = url.searchParams.get("token");
    const known = token === null ? -1 : this.indexOf(token);
    if (known < 0 || method !== "GET") {
      return {
        status: token === null ? 401 : 403,
        title: token === null ? "No session" : "This address was used",
        text: "Open the address that `jetrpc console` has printed. It works once: press Enter in its terminal for another one, or start it again.",
      };
    }
    this.digests.splice(known, 1);
    return { user: async () => local, back: "/" };
  }

  async identify(): Promise<User | undefined> {
    return undefined;
  }

  private indexOf(token: string): number {
    const digest = digestOf(token);
    return this.digests.findIndex((each) => timingSafeEqual(each, digest));
  }
}

/** Who has started the console. */
const local: User = { name: "local", role: "act" };

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
