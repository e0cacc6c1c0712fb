import { type ServerResponse, validateHeaderValue } from "node:http";
import { constants, type Http2ServerRequest } from "node:http2";
import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { Connection } from "@jetrpc/runtime";
import type { ClientLeft } from "./client-left.js";
import type { Identity } from "./identity.js";
import type { HttpRequest, HttpResponse } from "./refuse.js";

/** A request, its response, and who sent it. */
export interface Exchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly left: ClientLeft;
  readonly identity: Identity;
  readonly owner: string;
}

/** The same, with the connection of its owner. */
export interface LentExchange extends Exchange {
  readonly connection: Connection;
}

/** How long a client that has its answer may go on to send, in ms. */
const lingerMs = 1_000;

/** The headers of a request. */
export function headersOf(request: HttpRequest): Headers {
  const headers = new Headers();
  for (const name in request.headers) {
    const value = request.headers[name];
    if (typeof value === "string") {
      if (!name.startsWith(":")) {
        headers.append(name, value);
      }
    } else {
      for (const each of value ?? []) {
        headers.append(name, each);
      }
    }
  }
  const authority = request.headers[":authority"];
  if (authority !== undefined) {
    headers.set("host", String(authority));
  }
  return headers;
}

/** The longest time of a timer of Node, in ms. */
export const maxTimerMs = 2 ** 31 - 1;

/** How long a unit of a deadline of gRPC is, in ms; shorter ones have no room for too long a time. */
const grpcUnits: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1_000 };

/**
 * Shortens a deadline to what a timer of Node can wait for, which is 24 days: it would fire at once for
 * a longer one.
 */
export function limitTimeout(header: Headers): void {
  const connect = header.get("connect-timeout-ms") ?? "";
  if (/^\d{1,10}$/.test(connect) && Number(connect) > maxTimerMs) {
    header.set("connect-timeout-ms", String(maxTimerMs));
  }
  const [, amount, unit = ""] = /^(\d{1,8})([HMS])$/.exec(header.get("grpc-timeout") ?? "") ?? [];
  if (Number(amount) * (grpcUnits[unit] ?? 0) > maxTimerMs) {
    header.set("grpc-timeout", `${Math.floor(maxTimerMs / 1_000)}S`);
  }
}

/** A request as Connect's handlers take it. */
export function universalRequest(
  request: HttpRequest,
  header: Headers,
  signal: AbortSignal,
  contextValues: ContextValues,
  body: AsyncIterable<Uint8Array> = bodyOf(request),
): UniversalServerRequest {
  return {
    httpVersion: request.httpVersion,
    method: request.method ?? "",
    // Handlers look at the query only. The host is whatever a client says, and may be no host.
    url: `http://gateway${request.url}`,
    header,
    body,
    signal,
    contextValues,
  };
}

/**
 * The body of a request: who stops reading it may still answer. Throws Canceled when the client
 * leaves before its end: that of a request of HTTP/2 that is reset would look like a whole one.
 */
export async function* bodyOf(
  request: HttpRequest,
): AsyncGenerator<Uint8Array, undefined, undefined> {
  let cause: unknown;
  try {
    yield* request.iterator({ destroyOnReturn: false });
  } catch (error) {
    cause = error;
  }
  if (cause || request.aborted || (request.destroyed && !request.readableEnded)) {
    const text = "the client left before it had sent all";
    throw new ConnectError(text, Code.Canceled, undefined, undefined, cause);
  }
}

/**
 * Has a client that waits for it (`Expect: 100-continue`) send the body: not before it is known that
 * somebody reads it.
 */
export function askForBody({ headers, httpVersion }: HttpRequest, response: HttpResponse): void {
  if (headers.expect !== undefined && httpVersion !== "1.0" && !response.headersSent) {
    response.writeContinue();
  }
}

/**
 * Reads a body of so many bytes at most, as far as it comes: to its end, until there are more, or
 * until the client has left.
 */
export function readBody(
  request: HttpRequest,
  left: ClientLeft,
  maxBytes: number,
): Promise<{ pieces: Uint8Array[]; bytes: number }> {
  return new Promise((resolve) => {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    const end = () => resolve({ pieces, bytes });
    if (left.has) {
      end();
      return;
    }
    const take = (piece: Uint8Array) => {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > maxBytes) {
        request.off("data", take).pause();
        end();
      }
    };
    request.on("data", take).once("end", end).once("close", end);
  });
}

/**
 * Sends what a handler answers, no faster than the client takes it. Resolves also when the
 * client has left.
 */
export async function sendUniversal(
  { status, header, trailer, body }: UniversalServerResponse,
  response: HttpResponse,
  left: ClientLeft,
): Promise<void> {
  const to = response as ServerResponse;
  const chunks = body?.[Symbol.asyncIterator]();
  try {
    // The handler may set headers until its first message.
    let chunk = await chunks?.next();
    if (left.has) {
      return;
    }
    to.writeHead(status, objectOf(header));
    for (; chunk && !chunk.done; chunk = await chunks?.next()) {
      if (!to.write(chunk.value)) {
        await left.heard("drain");
      }
      if (left.has) {
        return;
      }
    }
    if (trailer) {
      to.addTrailers(objectOf(trailer));
    }
    to.end();
    await left.heard("finish");
  } finally {
    void chunks?.return?.()?.then(undefined, () => undefined);
  }
}

/**
 * Headers as Node's writeHead() takes them. Throws Internal for what HTTP does not carry: writeHead()
 * would keep a part of them, its length among them, for the error that is sent instead.
 */
export function objectOf(headers = new Headers()): Record<string, string | string[]> {
  const object: Record<string, string | string[]> = {};
  headers.forEach((value, name) => {
    try {
      validateHeaderValue(name, value);
    } catch (cause) {
      const text = `the worker answered with ${name}, whose value HTTP does not carry: leave out control characters`;
      throw new ConnectError(text, Code.Internal, undefined, undefined, cause);
    }
    object[name] = name === "set-cookie" ? headers.getSetCookie() : value;
  });
  return object;
}

/**
 * Ends what is left of a request that has its answer: the rest of its body is dropped for a
 * moment, in which the client can read the answer, and then nobody listens any more.
 */
export function dropRest(request: HttpRequest): void {
  if (!request.complete) {
    request.resume();
    const timer = setTimeout(() => abandon(request), lingerMs).unref();
    request.once("end", () => clearTimeout(timer));
  }
}

/** Ends a request whose client is not listened to any more: of HTTP/1.1 the connection with it. */
export function abandon(request: HttpRequest): void {
  if (request.complete) {
    return;
  }
  if (request.httpVersionMajor === 1) {
    request.socket.destroy();
    return;
  }
  const { stream } = request as Http2ServerRequest;
  if (stream.writableEnded) {
    // It has its answer: to end what is left of the request is no error.
    stream.destroy();
  } else {
    stream.close(constants.NGHTTP2_CANCEL);
  }
}

/** Ends a response so that its client sees that something is missing. */
export function cut(response: HttpResponse): void {
  if ("stream" in response) {
    // Without a code clients take it for the end of a whole one.
    response.stream?.close(constants.NGHTTP2_INTERNAL_ERROR);
  } else {
    response.destroy();
  }
}
