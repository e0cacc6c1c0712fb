import { Code, ConnectError } from "@connectrpc/connect";
import { codeFromString } from "@connectrpc/connect/protocol-connect";
import { connectionLost, strangeAnswer } from "./connection-lost.js";
import type { Reach } from "./reach.js";

/** A token, or what gives one: it is asked first when it is needed, and again when the gateway refuses its last one. */
export type TokenSource = string | (() => string | Promise<string>);

/** How requests are sent. */
export interface FetchOptions {
  readonly token?: TokenSource | undefined;
  readonly credentials?: "include" | "omit" | "same-origin" | undefined;
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/**
 * Sends requests with the token of whoever calls. A request that the gateway refuses because of
 * its token reached no worker: it is sent again with a new one, once. Throws connectionLost() when
 * no response comes, and lets that be read where a response ends too early; throws strangeAnswer()
 * for a response that no gateway has sent.
 */
export function gatewayFetch(
  { token, credentials, fetch: send = (...request) => globalThis.fetch(...request) }: FetchOptions,
  reach: Reach,
): typeof globalThis.fetch {
  let latest: Promise<string> | undefined;
  const ask = (source: () => string | Promise<string>): Promise<string> => {
    const asked = (async () => source())();
    latest = asked;
    // The next request asks again.
    asked.catch(() => {
      latest = latest === asked ? undefined : latest;
    });
    return asked;
  };
  const open = (url: string, init: RequestInit, bearer: string | undefined) => {
    const headers = new Headers(init.headers);
    if (bearer !== undefined) {
      headers.set("Authorization", `Bearer ${bearer}`);
    }
    // Who follows a redirect sends a GET for a POST, and no token to another origin.
    const redirect = "manual" as const;
    const request = { ...init, headers, redirect, ...(credentials && { credentials }) };
    reach.isTried = true;
    return orLost(url, init.signal, () => send(url, request), reach);
  };
  const openWithToken = async (url: string, init: RequestInit) => {
    if (typeof token !== "function") {
      return open(url, init, token);
    }
    const given = (asked: Promise<string>) => orAborted(init.signal, tokenOf(asked));
    const used = latest ?? ask(token);
    const response = await open(url, init, await given(used));
    if (!isRefused(response)) {
      return response;
    }
    await response.body?.cancel().catch(() => undefined);
    // Others may have asked meanwhile.
    return open(url, init, await given(latest === used || !latest ? ask(token) : latest));
  };
  return async (input, init = {}) => {
    const url = String(input);
    const response = await openWithToken(url, init);
    const its = await ofGateway(url, init, response);
    if (!its) {
      await response.body?.cancel().catch(() => undefined);
      throw strangeAnswer(url, response, reach.isReached);
    }
    reach.isReached = true;
    return its;
  };
}

/** Types of the answers of a gateway to calls in binary. */
const ownTypes = /^application\/(?:connect\+)?proto(?:;|$)/i;

/**
 * The same response, which tells that the connection is lost; undefined when no gateway has sent
 * it, but a proxy, or another server.
 */
async function ofGateway(
  url: string,
  { method = "GET", signal }: RequestInit,
  response: Response,
): Promise<Response | undefined> {
  const { ok, status, statusText, headers, body } = response;
  const type = headers.get("content-type") ?? "";
  // A Blob may be of any type; its digest tells whether it is one.
  const isBlob = headers.has("upload-offset") || (ok && method === "GET");
  const isJson = /^application\/json(?:;|$)/i.test(type);
  if (isBlob || ownTypes.test(type) || (!ok && isJson && method === "HEAD")) {
    return body ? guarded(url, signal, response, body) : response;
  }
  if (ok || !isJson) {
    return undefined;
  }
  const text = await orLost(url, signal, () => response.text());
  return hasCode(text) ? new Response(text, { status, statusText, headers }) : undefined;
}

/** True for an error as Connect writes it. */
function hasCode(json: string): boolean {
  try {
    const { code } = JSON.parse(json);
    return typeof code === "string" && codeFromString(code) !== undefined;
  } catch {
    return false;
  }
}

/** True for the answer of a gateway that does not know who sends the request: no worker can say so. */
function isRefused({ headers }: Response): boolean {
  return headers.has("www-authenticate");
}

async function tokenOf(asked: Promise<string>): Promise<string> {
  try {
    return await asked;
  } catch (cause) {
    if (cause instanceof ConnectError) {
      throw cause;
    }
    // Most functions ask a server, which may be away.
    const error = new ConnectError(
      `the token cannot be had: ${cause instanceof Error ? cause.message : String(cause)}`,
      Code.Unavailable,
    );
    error.cause = cause;
    throw error;
  }
}

/** Waits no longer than until the signal fires: who gives tokens may hang. */
function orAborted<T>(signal: AbortSignal | null | undefined, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort);
    void work.then(resolve, reject).then(() => signal?.removeEventListener("abort", abort));
    if (signal?.aborted) {
      abort();
    }
  });
}

async function orLost<T>(
  url: string,
  signal: AbortSignal | null | undefined,
  work: () => Promise<T>,
  reach?: Reach,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw signal?.aborted || cause instanceof ConnectError
      ? cause
      : connectionLost(url, cause, reach?.isReached);
  }
}

/** The same response, whose body tells that the connection is lost. */
function guarded(
  url: string,
  signal: AbortSignal | null | undefined,
  { status, statusText, headers }: Response,
  body: ReadableStream<Uint8Array>,
): Response {
  const reader = body.getReader();
  const source = {
    async pull(controller: ReadableStreamDefaultController<Uint8Array>) {
      const { done, value } = await orLost(url, signal, () => reader.read());
      if (done) {
        controller.close();
      } else {
        controller.enqueue(value);
      }
    },
    cancel: (reason: unknown) => reader.cancel(reason),
  };
  // Reads nothing before it is asked for.
  const stream = new ReadableStream(source, { highWaterMark: 0 });
  return new Response(stream, { status, statusText, headers });
}
