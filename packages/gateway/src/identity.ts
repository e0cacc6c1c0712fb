import { Code, ConnectError } from "@connectrpc/connect";

/** Who calls, and as whom. */
export interface Identity {
  /**
   * Whose durable calls these are: nobody sees or ends those of another owner. 1 to 128
   * letters, digits or any of `_ = + @ : -`. Default: `_`.
   */
  readonly owner?: string | undefined;
  /** Whose calls are counted for the limits. Default: the owner. */
  readonly name?: string | undefined;
  /**
   * What may be called: services (`pdf.v1.PdfService`) and methods (`pdf.v1.PdfService/Split`).
   * Default: all.
   */
  readonly methods?: readonly string[] | undefined;
  /** Metadata that workers get; a client cannot send other values of these names. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** What is known of a request before its body is read. */
export interface RequestInfo {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: Headers;
  /** Address of the other end of the connection: a proxy's, where there is one. */
  readonly remoteAddress: string | undefined;
  /** Headers of the response: what is set here goes with it, whatever the answer is. */
  readonly responseHeaders: Headers;
}

/**
 * Tells who sends a request. Undefined, or a ConnectError that it throws (Unauthenticated,
 * PermissionDenied), refuses the request; any other error is Internal and is logged.
 */
export interface Authenticate {
  (request: RequestInfo): Identity | undefined | Promise<Identity | undefined>;
  /** How a client shows who it is, as OpenAPI's security schemes by name. Default: not told. */
  readonly securitySchemes?: Readonly<Record<string, object>> | undefined;
}

/** Throws PermissionDenied unless somebody may call a method, `pdf.v1.PdfService/Split`. */
export function checkMethod(identity: Identity, method: string): void {
  if (!mayCall(identity, method)) {
    throw new ConnectError(`you may not call ${method}`, Code.PermissionDenied);
  }
}

/** True when somebody may call a method, `pdf.v1.PdfService/Split`. */
export function mayCall({ methods }: Identity, method: string): boolean {
  const service = method.slice(0, method.lastIndexOf("/"));
  return !methods || methods.includes(method) || methods.includes(service);
}

/** True when somebody may call a service, `pdf.v1.PdfService`, or one of its methods. */
export function mayCallSome({ methods }: Identity, service: string): boolean {
  return !methods || methods.some((each) => each === service || each.startsWith(`${service}/`));
}
