import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { DescMessage, DescMethod, DescMethodUnary, Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type UnaryResponse } from "@connectrpc/connect";
import {
  type Compression,
  compressionNegotiate,
  createMethodSerializationLookup,
  type MethodSerializationLookup,
} from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  contentTypeUnaryJson,
  contentTypeUnaryProto,
  contentTypeUnaryRegExp,
  errorToJsonBytes,
  headerUnaryAcceptEncoding,
  trailerMux,
} from "@connectrpc/connect/protocol-connect";
import { bindMethod, holdsBlobs } from "@jetrpc/runtime/schema";
import { allIsRead } from "./all-is-read.js";
import type { ClientLeft } from "./client-left.js";
import { type LentExchange, maxTimerMs, objectOf, readBody } from "./exchange.js";
import { metadataOf, requestMetadata } from "./metadata.js";
import { outward, timeLeft } from "./proxy.js";
import type { HttpRequest } from "./refuse.js";
import { type Log, toClient } from "./to-client.js";

/** Options of Connect's handlers of a method, and the log. */
export interface HandlerOptions {
  readonly acceptCompression: Compression[];
  readonly readMaxBytes: number;
  readonly jsonOptions: NonNullable<Parameters<typeof errorToJsonBytes>[1]>;
  readonly log: Log;
}

/** The clients of calls that run: they are told when the gateway ends them. */
export class RunningCalls {
  private readonly clients = new Set<ClientLeft>();

  constructor(private readonly shutdownSignal: AbortSignal) {
    shutdownSignal.addEventListener("abort", () => {
      for (const left of this.clients) {
        left.abort(shutdownSignal.reason);
      }
    });
  }

  /** Adds one that is to be ended, until it is deleted. */
  add(left: ClientLeft): void {
    this.clients.add(left);
    if (this.shutdownSignal.aborted) {
      left.abort(this.shutdownSignal.reason);
    }
  }

  delete(left: ClientLeft): void {
    this.clients.delete(left);
  }
}

/** Connect's default: shorter bodies are not compressed. */
const compressMinBytes = 1024;

/** Connect's default. */
const writeMaxBytes = 0xffffffff;

type Lookup = MethodSerializationLookup<DescMessage, DescMessage>;

/** A response without its length and its compression. */
interface Answer {
  status: number;
  /** With trailers in it; undefined where it has only the content type of a message. */
  header: Headers | undefined;
  body: Uint8Array;
}

/**
 * A short way for the common request: a direct unary call by Connect's protocol, by POST, not
 * compressed. It answers with the bytes of Connect's handler, which makes iterators of the
 * bodies, six Headers, three AbortControllers and an error for each call. What is not common is
 * left to that handler.
 */
export class DirectUnary {
  private readonly typed: Lookup;
  private readonly raw: Lookup;

  /** That of a method; undefined for one that is called in another way. */
  static of(
    desc: DescMethod,
    raw: DescMethod,
    options: HandlerOptions,
    running: RunningCalls,
  ): DirectUnary | undefined {
    return desc.methodKind === "unary" &&
      bindMethod(desc).delivery === "direct" &&
      !holdsBlobs(desc.input)
      ? new DirectUnary(desc as DescMethodUnary, raw as DescMethodUnary, options, running)
      : undefined;
  }

  private constructor(
    private readonly desc: DescMethodUnary,
    private readonly rawDesc: DescMethodUnary,
    private readonly options: HandlerOptions,
    private readonly running: RunningCalls,
  ) {
    const { jsonOptions, readMaxBytes } = options;
    const limits = { readMaxBytes, writeMaxBytes };
    this.typed = createMethodSerializationLookup(desc, undefined, jsonOptions, limits);
    this.raw = createMethodSerializationLookup(rawDesc, undefined, jsonOptions, limits);
  }

  /** True for a request that this way is for. */
  takes({ method, headers }: HttpRequest): boolean {
    const {
      "content-type": type = "",
      "content-encoding": encoding = "identity",
      "content-length": length = "0",
      "connect-timeout-ms": timeout = "1",
    } = headers;
    return (
      method === "POST" &&
      contentTypeUnaryRegExp.test(type) &&
      encoding === "identity" &&
      /^\d{1,15}$/.test(length) &&
      Number(length) <= this.options.readMaxBytes &&
      /^[1-9]\d{0,9}$/.test(String(timeout)) &&
      Number(timeout) <= maxTimerMs
    );
  }

  /**
   * Answers a request that it takes. Resolves to what it has read of a body that is longer or
   * shorter than it may be: Connect's handler says so.
   */
  async answer(exchange: LentExchange): Promise<readonly Uint8Array[] | undefined> {
    const { request, response, left } = exchange;
    const { readMaxBytes } = this.options;
    const { "connect-timeout-ms": timeout, "content-length": said } = request.headers;
    const timeoutMs = timeout === undefined ? undefined : Number(timeout);
    const until = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(() => left.abort(timedOut()), timeoutMs);
    this.running.add(left);
    try {
      const { pieces, bytes } = await readBody(request, left, readMaxBytes);
      if (left.has) {
        return undefined;
      }
      if (bytes > readMaxBytes || (said !== undefined && Number(said) !== bytes)) {
        return pieces;
      }
      const [first] = pieces;
      const body = pieces.length === 1 && first ? first : Buffer.concat(pieces, bytes);
      const answer = await this.call(exchange, body, until);
      if (!left.has) {
        await this.send(answer, request.headers, response as ServerResponse, left);
      }
      return undefined;
    } finally {
      this.running.delete(left);
      clearTimeout(timer);
    }
  }

  private async call(
    exchange: LentExchange,
    body: Uint8Array,
    until: number | undefined,
  ): Promise<Answer> {
    const isBinary = isProto(exchange.request.headers);
    const lookup = isBinary ? this.raw : this.typed;
    let header: Headers | undefined;
    try {
      const message = lookup.getI(isBinary).parse(body);
      const response = await this.ask(
        exchange,
        isBinary ? this.rawDesc : this.desc,
        until,
        message,
      );
      header = headerOf(response);
      return { status: 200, header, body: lookup.getO(isBinary).serialize(response.message) };
    } catch (thrown) {
      const error = toClient(thrown, this.options.log);
      header ??= new Headers();
      header.set("content-type", contentTypeUnaryJson);
      for (const [name, value] of error.metadata) {
        header.set(name, value);
      }
      const errorBody = errorToJsonBytes(error, this.options.jsonOptions);
      return { status: codeToHttpStatus(error.code), header, body: errorBody };
    }
  }

  private async ask(
    { request, left, identity, connection }: LentExchange,
    desc: DescMethodUnary,
    until: number | undefined,
    message: Message,
  ): Promise<UnaryResponse> {
    try {
      await allIsRead();
      return await connection.transport.unary(
        desc,
        left.signal,
        timeLeft({ timeoutMs: () => until && until - Date.now() }),
        requestMetadata(request.headers, identity),
        message,
      );
    } catch (error) {
      throw outward(error, this.options.log);
    }
  }

  private async send(
    { status, header, body: whole }: Answer,
    headers: IncomingHttpHeaders,
    response: ServerResponse,
    left: ClientLeft,
  ): Promise<void> {
    const head = header ? objectOf(header) : {};
    head["content-type"] ??= isProto(headers) ? contentTypeUnaryProto : contentTypeUnaryJson;
    let body = whole;
    if (body.byteLength >= compressMinBytes) {
      const { response: compression } = compressionNegotiate(
        this.options.acceptCompression,
        null,
        String(headers["accept-encoding"] ?? ""),
        headerUnaryAcceptEncoding,
      );
      if (compression) {
        body = await compression.compress(body);
        head["content-encoding"] = compression.name;
      }
    }
    head["content-length"] = String(body.byteLength);
    if (!left.has) {
      response.writeHead(status, head);
      response.end(body);
      await left.heard("finish");
    }
  }
}

function isProto({ "content-type": type = "" }: IncomingHttpHeaders): boolean {
  return type.length === contentTypeUnaryProto.length && /proto$/i.test(type);
}

/** The metadata of a response, with trailers among it; undefined where there is none. */
function headerOf({ header, trailer }: UnaryResponse): Headers | undefined {
  const hasNone = header.keys().next().done && trailer.keys().next().done;
  return hasNone ? undefined : trailerMux(metadataOf(header), metadataOf(trailer));
}

/** The error of a call whose time is over, as Connect's handlers have it. */
function timedOut(): ConnectError {
  return new ConnectError("the operation timed out", Code.DeadlineExceeded);
}
