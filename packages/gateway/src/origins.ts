import { Code, ConnectError, cors } from "@connectrpc/connect";
import { notRunHeader } from "./metadata.js";
import type { Answer } from "./refuse.js";

/** Pages of other origins that may call the gateway. */
export interface CorsOptions {
  /** `https://app.example.com`; `*` for any. */
  readonly origins: readonly string[];
  /** Request headers that pages may send, beside those of the protocols. Default: none. */
  readonly allowedHeaders?: readonly string[] | undefined;
  /** Response headers that pages may read, beside those of the protocols. Default: none. */
  readonly exposedHeaders?: readonly string[] | undefined;
  /**
   * Whether pages may send cookies; they are Unauthenticated or PermissionDenied all the same
   * unless `authenticate` lets them use a session. Not with `*`. Default: false.
   */
  readonly credentials?: boolean | undefined;
}

/** Headers that the gateway itself reads and sends, beside those of the protocols. */
const ownAllowed = [
  ...["Authorization", "Idempotency-Key", "Prefer", "Traceparent", "Tracestate"],
  ...["Content-Disposition", "Content-Range", "If-Range", "Range", "Repr-Digest"],
];
const ownExposed = [
  ...["Location", "Preference-Applied", "Retry-After", "WWW-Authenticate", notRunHeader],
  ...["Accept-Ranges", "Content-Disposition", "Content-Range", "ETag"],
  ...["Upload-Complete", "Upload-Offset"],
];

/** How long a browser may remember the answer of a preflight, in seconds. */
const maxAge = "7200";

/** Decides which pages may call the gateway: its own origin, and those that are named. */
export class Origins {
  /** Throws InvalidArgument for `credentials` of any origin. */
  constructor(private readonly options: CorsOptions | undefined) {
    if (options?.credentials && options.origins.includes("*")) {
      const text =
        "cors: any page (*) may not send cookies: name the origins, or leave out credentials";
      throw new ConnectError(text, Code.InvalidArgument);
    }
  }

  /**
   * The headers that a response to a page of another origin needs, and what caches are to know
   * of the others; undefined when the page is a stranger's.
   */
  headersFor(origin: string | undefined, host: string): Record<string, string> | undefined {
    if (origin === undefined || isSameHost(origin, host)) {
      // A cache is not to give it to a page of another origin, which needs more headers.
      return this.options ? { vary: "Origin" } : {};
    }
    const { origins = [], exposedHeaders = [], credentials = false } = this.options ?? {};
    if (!origins.includes(origin) && !origins.includes("*")) {
      return undefined;
    }
    const exposed = [...cors.exposedHeaders, ...ownExposed, ...exposedHeaders];
    return {
      "access-control-allow-origin": origin,
      "access-control-expose-headers": exposed.join(", "),
      ...(credentials && { "access-control-allow-credentials": "true" }),
      vary: "Origin",
    };
  }

  /** The answer to a preflight of a page that may call. */
  preflight(headers: Record<string, string>): Answer {
    const allowed = [
      ...cors.allowedHeaders,
      ...ownAllowed,
      ...(this.options?.allowedHeaders ?? []),
    ];
    return {
      status: 204,
      headers: {
        ...headers,
        "access-control-allow-methods": "GET, HEAD, POST, PUT",
        "access-control-allow-headers": allowed.join(", "),
        "access-control-max-age": maxAge,
      },
    };
  }
}

/** True for an origin whose host and port are those of a Host header, which may name the port that is meant anyway. */
export function isSameHost(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) {
    return false;
  }
  const { protocol, host: own } = new URL(origin);
  const usual = protocol === "https:" ? /:443$/ : /:80$/;
  return own === host.toLowerCase().replace(usual, "");
}
