import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import { type Code, ConnectError } from "@connectrpc/connect";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  createEndStreamSerialization,
  endStreamFlag,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { ClientLeft, type HttpResponse } from "./client-left.js";

/** A request of either version of HTTP. */
export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type { HttpResponse };

/** An error that clients of plain HTTP see by another status than that of its code. */
export class Refusal extends ConnectError {
  constructor(
    message: string,
    code: Code,
    readonly status: number,
  ) {
    super(message, code);
  }
}

/** How a request is answered that is not a call. */
export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body?: Uint8Array | string;
  readonly trailers?: Record<string, string>;
}

/**
 * The answer to a request that is refused before anyone has read its body: as its protocol
 * has errors, so that every client gets the code and the message. `status` is for clients of
 * plain HTTP; that of the code when left out.
 */
export function refusal(
  contentType: string | undefined,
  error: ConnectError,
  status = codeToHttpStatus(error.code),
): Answer {
  if (contentType?.startsWith("application/grpc")) {
    const trailers = Object.fromEntries(setTrailerStatus(new Headers(error.metadata), error));
    const headers = { "content-type": contentType };
    return contentType.startsWith("application/grpc-web")
      ? // They may be headers where there is no body.
        { status: 200, headers: { ...headers, ...trailers } }
      : { status: 200, headers, trailers };
  }
  const headers = Object.fromEntries(error.metadata);
  if (contentType?.startsWith("application/connect+")) {
    const end = createEndStreamSerialization({}).serialize({
      metadata: new Headers(),
      error: new ConnectError(error.rawMessage, error.code),
    });
    const body = encodeEnvelope(endStreamFlag, end);
    return { status: 200, headers: { ...headers, "content-type": contentType }, body };
  }
  return {
    status,
    headers: { ...headers, "content-type": "application/json" },
    body: errorToJsonBytes(error, {}),
  };
}

/** Sends an answer. What is still to come of the request is not read. */
export async function send(
  request: HttpRequest,
  response: HttpResponse,
  { status, headers, body, trailers }: Answer,
): Promise<void> {
  const left = ClientLeft.of(response);
  if (response.headersSent || left.has) {
    return;
  }
  // What follows on such a connection would be the rest of the body.
  const close = request.httpVersionMajor === 1 && !request.complete ? { connection: "close" } : {};
  const head = response as ServerResponse;
  head.writeHead(status, { "x-content-type-options": "nosniff", ...headers, ...close });
  if (trailers) {
    head.addTrailers(trailers);
  }
  head.end(request.method === "HEAD" ? undefined : body);
  await left.heard("finish");
}
