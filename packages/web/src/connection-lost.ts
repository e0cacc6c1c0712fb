import { Code, ConnectError } from "@connectrpc/connect";

/** What an attempt to reach a gateway came to, where no gateway answered. */
interface Loss {
  /** Whether a gateway had answered before at that address. */
  readonly isReached: boolean;
  /** Whether something answered that is no gateway, and has nothing of one behind it. */
  readonly isStrange: boolean;
}

// A class cannot tell: to Connect, each such error is of any.
const losses = new WeakMap<ConnectError, Loss>();

/** The error of a request whose response did not come, or not all of it. */
export function connectionLost(url: string, cause: unknown, isReached = true): ConnectError {
  const origin = originOf(url);
  const text = isReached
    ? `the connection to ${origin} is lost: ${reasonOf(cause)}`
    : `${origin} cannot be reached: ${reasonOf(cause)}. Check that this is the address of a gateway that runs, and that its cors names this page${insecureHint(url)}`;
  const error = new ConnectError(text, Code.Unavailable, undefined, undefined, cause);
  losses.set(error, { isReached, isStrange: false });
  return error;
}

/** Browsers do not say why they refuse it. */
function insecureHint(url: string): string {
  const { location } = globalThis as { location?: { readonly protocol: string } };
  return location?.protocol === "https:" && url.startsWith("http:")
    ? "; this page came by https, and browsers let it call https only"
    : "";
}

/** Codes of answers of something between here and a gateway, which has decided about the request. */
const decisions: Readonly<Record<number, Code>> = {
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  413: Code.ResourceExhausted,
};

/** Statuses of something in front of a gateway that is away, or had no time. */
const passing: ReadonlySet<number> = new Set([408, 425, 429]);

/** The error of a response that no gateway has sent. */
export function strangeAnswer(url: string, response: Response, isReached: boolean): ConnectError {
  const { status, headers } = response;
  const says = `${originOf(url)} answers ${whatOf(response)}, which is not from a gateway`;
  const decided = decisions[status];
  if (decided !== undefined) {
    return new ConnectError(`${says}: see what is in front of it`, decided);
  }
  const isStrange = status < 500 && !passing.has(status);
  const mend = isStrange
    ? "check the address, and what is in front of it"
    : "the gateway behind it is away";
  const retryAfter = headers.get("retry-after");
  const error = new ConnectError(
    `${says}: ${mend}`,
    Code.Unavailable,
    retryAfter ? { "retry-after": retryAfter } : undefined,
  );
  losses.set(error, { isReached, isStrange });
  return error;
}

function whatOf({ type, status, headers }: Response): string {
  // A browser does not tell where it leads.
  const location = headers.get("location") ?? (type === "opaqueredirect" ? "elsewhere" : undefined);
  return location === undefined
    ? `${status} (${headers.get("content-type") ?? "no content type"})`
    : `with a redirect to ${location}`;
}

/** How the connection was lost, for an error that says so. */
export function lossOf(error: ConnectError): Loss | undefined {
  return losses.get(error);
}

/** The origin, where the address has one: that of a page may be relative. */
function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : "the gateway";
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  // That of Node's fetch says nothing by itself.
  const { cause } = error;
  const message = error instanceof ConnectError ? error.rawMessage : error.message;
  return cause instanceof Error ? `${message}: ${reasonOf(cause)}` : message;
}
