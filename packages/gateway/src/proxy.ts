import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  Message,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { mayHaveRun } from "@jetrpc/runtime";
import { bindMethod } from "@jetrpc/runtime/schema";
import { type AnyCall, messagesOf, submitCall } from "./durable-method.js";
import { copyMetadata, metadataOf, notRunHeader } from "./metadata.js";
import { callMetadata, connectionOf } from "./request-context.js";
import { type Log, toClient } from "./to-client.js";
import { useUploads } from "./use-uploads.js";

/** Makes a method of NATS a method of a router. */
export function proxy(router: ConnectRouter, desc: DescMethod, log: Log): void {
  const call = new ProxiedMethod(desc, log);
  // Each kind has another type of function, of messages that are not known here.
  const rpc = router.rpc as (desc: DescMethod, impl: unknown) => ConnectRouter;
  rpc(desc, call.implementation());
}

class ProxiedMethod {
  constructor(
    private readonly desc: DescMethod,
    private readonly log: Log,
  ) {}

  implementation(): unknown {
    switch (this.desc.methodKind) {
      case "unary":
        return (request: Message, context: HandlerContext) => this.unary(request, context);
      case "server_streaming":
        return (request: Message, context: HandlerContext) => this.stream(one(request), context);
      case "client_streaming":
        return (requests: AsyncIterable<Message>, context: HandlerContext) =>
          this.only(this.stream(requests, context));
      case "bidi_streaming":
        return (requests: AsyncIterable<Message>, context: HandlerContext) =>
          this.stream(requests, context);
    }
  }

  private async unary(request: Message, context: HandlerContext): Promise<Message> {
    const { transport } = connectionOf(context);
    const desc = this.desc as DescMethodUnary;
    try {
      if (this.isNamed(context)) {
        const { result } = await this.submit(request, context);
        return (await result?.({ ...metadataInto(context), signal: context.signal })) as Message;
      }
      useUploads(connectionOf(context), desc, undefined, request);
      const response = await transport.unary(
        desc,
        context.signal,
        timeLeft(context),
        callMetadata(context),
        request,
      );
      copyMetadata(response.header, context.responseHeader);
      copyMetadata(response.trailer, context.responseTrailer);
      return response.message;
    } catch (error) {
      throw outward(error, this.log);
    }
  }

  private async *stream(
    requests: AsyncIterable<Message>,
    context: HandlerContext,
  ): AsyncGenerator<Message> {
    const { transport } = connectionOf(context);
    const desc = this.desc as DescMethodStreaming<DescMessage, DescMessage>;
    try {
      if (this.isNamed(context)) {
        // A durable method takes one request.
        for await (const request of requests) {
          yield* messagesOf(await this.submit(request, context), {
            ...metadataInto(context),
            signal: context.signal,
          });
        }
        return;
      }
      const response = await transport.stream(
        desc,
        context.signal,
        timeLeft(context),
        callMetadata(context),
        this.unnamed(requests, context),
      );
      copyMetadata(response.header, context.responseHeader);
      yield* response.message;
      copyMetadata(response.trailer, context.responseTrailer);
    } catch (error) {
      throw outward(error, this.log);
    }
  }

  /** The requests of a call without an id: it has no uploads. */
  private async *unnamed(
    requests: AsyncIterable<Message>,
    context: HandlerContext,
  ): AsyncGenerator<Message> {
    for await (const request of requests) {
      useUploads(connectionOf(context), this.desc, undefined, request);
      yield request;
    }
  }

  /** True for a durable call that the client gives an id. */
  private isNamed({ requestHeader }: HandlerContext): boolean {
    return requestHeader.has("idempotency-key") && bindMethod(this.desc).delivery === "durable";
  }

  private submit(request: Message, context: HandlerContext): Promise<AnyCall> {
    return submitCall(connectionOf(context), this.desc, request, {
      callId: context.requestHeader.get("idempotency-key") ?? undefined,
      headers: callMetadata(context),
      timeoutMs: timeLeft(context),
      signal: context.signal,
    });
  }

  private async only(responses: AsyncGenerator<Message>): Promise<Message> {
    const all: Message[] = [];
    for await (const response of responses) {
      all.push(response);
    }
    const [message] = all;
    if (message === undefined || all.length > 1) {
      const text = `${this.desc.toString()} was answered with ${all.length} messages instead of one`;
      throw new ConnectError(text, Code.Unimplemented);
    }
    return message;
  }
}

async function* one<T>(message: T): AsyncGenerator<T> {
  yield message;
}

/**
 * The time that is left of a call's deadline, in ms; undefined without one. Throws
 * DeadlineExceeded when it is over: to the runtime, 0 would be no deadline.
 */
export function timeLeft(context: Pick<HandlerContext, "timeoutMs">): number | undefined {
  const left = context.timeoutMs();
  if (left !== undefined && left <= 0) {
    throw new ConnectError("the deadline was over before the call began", Code.DeadlineExceeded);
  }
  return left === undefined ? undefined : Math.ceil(left);
}

/** Passes the metadata of a response on to a client. */
export function metadataInto({ responseHeader, responseTrailer }: HandlerContext) {
  return {
    onHeader: (header: Headers) => copyMetadata(header, responseHeader),
    onTrailer: (trailer: Headers) => copyMetadata(trailer, responseTrailer),
  };
}

/** The error of a worker as the client gets it: without headers that are HTTP's own. */
export function outward(error: unknown, log: Log): ConnectError {
  const { rawMessage, code, metadata, details, cause } = toClient(error, log);
  const outgoing = new ConnectError(rawMessage, code, metadataOf(metadata), undefined, cause);
  outgoing.details = details;
  return mayHaveRun(error) ? outgoing : notRun(outgoing);
}

/** Tells clients that a call surely reached no handler. */
export function notRun(error: ConnectError): ConnectError {
  error.metadata.set(notRunHeader, "true");
  return error;
}
