import type { IncomingHttpHeaders } from "node:http";
import { fromBinary, fromJsonString, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { readAllBytes } from "@connectrpc/connect/protocol";
import { parseTimeout } from "@connectrpc/connect/protocol-connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import type { Connection } from "@jetrpc/runtime";
import { typesOf } from "@jetrpc/runtime/schema";
import { callIdOf } from "./call-service.js";
import type { Route } from "./catalogue.js";
import { submitCall } from "./durable-method.js";
import type { Answer } from "./refuse.js";

/** A request that is to be submitted, and not waited for. */
export interface AsyncRequest {
  readonly route: Route;
  readonly connection: Connection;
  readonly header: Headers;
  readonly metadata: Headers | undefined;
  readonly body: AsyncIterable<Uint8Array>;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** True for a request of plain HTTP that does not want to wait for the end of a durable call. */
export function wantsAsync(
  { delivery }: Route,
  method: string | undefined,
  { prefer, "content-type": type }: IncomingHttpHeaders,
): boolean {
  return (
    delivery === "durable" &&
    method === "POST" &&
    /(?:^|[,;\s])respond-async(?:$|[,;\s])/i.test(String(prefer ?? "")) &&
    /^application\/(?:json|proto)\s*(?:;|$)/i.test(type ?? "")
  );
}

/** Submits the call of a request, and says where it is to be looked at. */
export async function respondAsync(request: AsyncRequest): Promise<Answer> {
  const { route, connection, header, metadata, signal } = request;
  const { timeoutMs, error } = parseTimeout(header.get("connect-timeout-ms"), maxTimeoutMs);
  if (error) {
    throw error;
  }
  const isJson = /^application\/json/i.test(header.get("content-type") ?? "");
  const bytes = await readBody(request);
  const desc = isJson ? route.desc : route.raw;
  const call = await submitCall(connection, desc, parse(bytes, route, isJson), {
    callId: callIdOf("", header),
    headers: metadata,
    timeoutMs,
    signal,
  });
  const method = `${route.desc.parent.typeName}/${route.desc.name}`;
  const message = encodeURIComponent(JSON.stringify({ method, callId: call.id }));
  const link = (rpc: string) => `/jetrpc.v1.CallService/${rpc}?encoding=json&message=${message}`;
  const links = {
    status: link("Status"),
    ...(route.desc.methodKind === "unary" && { result: link("Result") }),
  };
  return {
    status: 202,
    headers: {
      "content-type": "application/json",
      location: links.status,
      "preference-applied": "respond-async",
    },
    body: `${JSON.stringify({ method, callId: call.id, ...links })}\n`,
  };
}

const maxTimeoutMs = Number.MAX_SAFE_INTEGER;

async function readBody({ header, body, maxBytes }: AsyncRequest): Promise<Uint8Array> {
  const bytes = await readAllBytes(body, maxBytes, header.get("content-length"));
  const encoding = header.get("content-encoding") ?? "identity";
  if (encoding === "identity") {
    return bytes;
  }
  const compression = [compressionGzip, compressionBrotli].find(({ name }) => name === encoding);
  if (!compression) {
    throw new ConnectError(`unknown compression ${encoding}: gzip, br`, Code.Unimplemented);
  }
  return compression.decompress(bytes, maxBytes);
}

function parse(bytes: Uint8Array, { desc, raw }: Route, isJson: boolean): Message {
  try {
    return isJson
      ? fromJsonString(desc.input, new TextDecoder().decode(bytes) || "{}", {
          registry: typesOf(desc.parent),
          ignoreUnknownFields: true,
        })
      : fromBinary(raw.input, bytes);
  } catch (cause) {
    const text = `cannot parse the request as ${desc.input.typeName}: ${String(cause)}`;
    throw new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
  }
}
