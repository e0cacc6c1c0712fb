import type { IncomingMessage } from "node:http";
import type { User } from "./user.js";

/** An answer to a browser that logs in. */
export type LoginAnswer =
  /** It is known: a session begins, and the browser goes on to a path. */
  | { readonly user: () => Promise<User | undefined>; readonly back: string }
  /** It goes to another address first. */
  | { readonly redirect: string; readonly cookie?: string }
  /** It is told something, on a page. */
  | {
      readonly status: number;
      readonly title: string;
      readonly text: string;
      readonly form?: Form;
    };

/** A form that asks for a token. */
export interface Form {
  /** Where the browser goes afterwards. */
  readonly back: string;
}

/** How browsers begin a session, and what else shows who sends a request. */
export interface Login {
  /** GET /login, and POST with a form; `url` has the query. Throws what is told to the browser. */
  begin(
    request: IncomingMessage,
    url: URL,
    form: URLSearchParams | undefined,
  ): Promise<LoginAnswer>;
  /** GET /login/callback, where the login has one. */
  finish?(request: IncomingMessage, url: URL): Promise<LoginAnswer>;
  /** Who sends a request without a session; undefined for nobody. */
  identify(headers: Headers): Promise<User | undefined>;
  /** True when a session that was ended can be begun again by GET /login. */
  readonly canRepeat: boolean;
}

/** A path of this server that a browser may be sent to. */
export function safePath(path: string | null | undefined): string {
  // Browsers read `//host` and `/\host` as other hosts, as this does.
  const here = "http://console";
  const url = path && URL.canParse(path, here) ? new URL(path, here) : undefined;
  const isHere = url?.origin === here && !url.pathname.startsWith("/login");
  return isHere ? `${url.pathname.replace(/^\/+/, "/")}${url.search}${url.hash}` : "/";
}
