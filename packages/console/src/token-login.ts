import type { IncomingMessage } from "node:http";
import type { Authenticate, Identity } from "@jetrpc/gateway";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { TokenLogin as Options } from "./console-options.js";
import { type Login, type LoginAnswer, safePath } from "./login.js";
import { roleOf } from "./roles.js";
import type { User } from "./user.js";

/** A login by bearer tokens. A browser gives one in a form; each request of its session checks it anew. */
export class TokenLogin implements Login {
  readonly canRepeat = true;

  constructor(private readonly options: Options) {}

  async begin(
    _request: IncomingMessage,
    url: URL,
    form: URLSearchParams | undefined,
  ): Promise<LoginAnswer> {
    const back = safePath(form?.get("back") ?? url.searchParams.get("back"));
    const token = form?.get("token")?.trim();
    const title = "Log in to the console";
    if (!token) {
      return { status: 200, title, text: "Give the token that you were given.", form: { back } };
    }
    const headers = new Headers();
    let user: User | undefined;
    try {
      headers.set("authorization", `Bearer ${token}`);
      user = await this.identify(headers);
    } catch (error) {
      const { code } = ConnectError.from(error);
      if (code === Code.Unavailable) {
        throw error;
      }
    }
    return user
      ? { user: () => this.identify(headers).catch(nobody), back }
      : { status: 403, title, text: "The token is not known, or has expired.", form: { back } };
  }

  async identify(headers: Headers): Promise<User | undefined> {
    const identity = await this.options.authenticate({
      method: "POST",
      url: "/",
      headers,
      remoteAddress: undefined,
      responseHeaders: new Headers(),
    } satisfies Parameters<Authenticate>[0]);
    return identity && { name: nameOf(identity), role: roleOf(identity.methods) };
  }
}

function nameOf({ name, owner }: Identity): string {
  return name ?? owner ?? "somebody";
}

function nobody(error: unknown): undefined {
  if (ConnectError.from(error).code === Code.Unavailable) {
    throw error;
  }
}
