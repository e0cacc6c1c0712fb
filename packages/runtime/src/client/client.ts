import type {
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  Message,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse, type Transport } from "@connectrpc/connect";
import type { ClientConnection } from "../client-connection.js";
import { checkSignal } from "../link/timer.js";
import { asStream } from "../message/interceptor-chain.js";
import { bindingOf, type MethodBinding } from "../schema/binding.js";
import type { CallOptions } from "./call-options.js";
import { type AnyMethod, type Caller, callerOf } from "./caller.js";
import { unaryMethod } from "./unary-method.js";

/**
 * Makes a client of a service: a Connect client whose durable methods have
 * `submit()` and `attach()`. `C` is the generated client interface; the
 * generated `create…Client()` calls this.
 *
 * The options of the service are taken as they are: the generator has checked them.
 */
export function createClient<C>(service: DescService, connection: ClientConnection): C {
  const caller = callerOf(connection);
  const client: Record<string, AnyMethod> = {};
  for (const [name, method] of bindingOf(service).methods) {
    const callable = methodOf(method, caller);
    client[name] =
      method.delivery === "durable" ? Object.assign(callable, caller.durable(method)) : callable;
  }
  return client as C;
}

/** The functions of Connect's own client are slower, and a larger download. */
function methodOf(method: MethodBinding, caller: Caller): AnyMethod {
  const { desc } = method;
  const { transport } = caller;
  switch (desc.methodKind) {
    case "unary":
      return caller.unaryMethod?.(method) ?? unaryMethod(desc as DescMethodUnary, transport.unary);
    case "client_streaming":
      return clientStreamingMethod(desc as DescMethodStreaming, transport);
    default:
      return streamingMethod(desc as DescMethodStreaming, transport);
  }
}

/** Calls a method that streams its requests: the response is the only message of its stream. */
function clientStreamingMethod(method: DescMethodStreaming, transport: Transport): AnyMethod {
  return async (
    requests,
    { signal, timeoutMs, headers, contextValues, ...on }: CallOptions = {},
  ) => {
    const response = await transport.stream(
      method,
      signal,
      timeoutMs,
      headers,
      requests,
      contextValues,
    );
    on.onHeader?.(response.header);
    let last: Message | undefined;
    let count = 0;
    for await (const message of response.message) {
      last = message;
      count++;
    }
    if (count !== 1) {
      const text = `${method.toString()} was answered with ${count} messages instead of one`;
      throw new ConnectError(text, Code.Unimplemented);
    }
    on.onTrailer?.(response.trailer);
    return last;
  };
}

/**
 * Calls a method that streams its response. Connect's own client does the same,
 * but goes on to receive when the caller leaves its loop, and costs several
 * promises a message.
 */
function streamingMethod(method: DescMethodStreaming, transport: Transport): AnyMethod {
  const takesOne = method.methodKind === "server_streaming";
  return (request, options = {}) => {
    const input = takesOne ? asStream(request) : request;
    return new ResponseIterator(method, transport, input, options);
  };
}

class ResponseIterator implements AsyncIterableIterator<Message, undefined> {
  private readonly controller = new AbortController();
  private messages: Promise<AsyncIterator<Message>> | AsyncIterator<Message>;
  private response: StreamResponse | undefined;
  private hasLeft = false;

  constructor(
    method: DescMethodStreaming,
    transport: Transport,
    input: AsyncIterable<Message>,
    private readonly options: CallOptions,
  ) {
    const { signal, timeoutMs, headers, contextValues } = options;
    checkSignal(signal);
    // Not AbortSignal.any(): a signal that lives long would keep something of every call.
    if (signal?.aborted) {
      this.abort();
    } else {
      signal?.addEventListener("abort", this.abort);
    }
    this.messages = this.open(
      transport.stream(method, this.controller.signal, timeoutMs, headers, input, contextValues),
    );
    // next() gives the error to whoever reads. It may be that of onHeader(), in a call that goes on.
    this.messages.catch(() => {
      this.release();
      this.controller.abort();
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Message, undefined>> {
    if (this.hasLeft) {
      return done;
    }
    try {
      // Not awaited when there: a promise for each message would be the larger part of its cost.
      const messages = this.messages instanceof Promise ? await this.messages : this.messages;
      const result = await messages.next();
      if (this.hasLeft) {
        return done;
      }
      if (result.done) {
        this.release();
        if (this.response) {
          this.options.onTrailer?.(this.response.trailer);
          this.response = undefined;
        }
      }
      return result;
    } catch (error) {
      this.release();
      if (this.hasLeft) {
        return done;
      }
      throw error;
    }
  }

  async return(): Promise<IteratorResult<Message, undefined>> {
    this.hasLeft = true;
    this.release();
    this.controller.abort();
    return done;
  }

  private readonly abort = (): void => this.controller.abort(this.options.signal?.reason);

  private release(): void {
    this.options.signal?.removeEventListener("abort", this.abort);
  }

  private async open(opening: Promise<StreamResponse>): Promise<AsyncIterator<Message>> {
    const response = await opening;
    this.options.onHeader?.(response.header);
    this.response = response;
    this.messages = response.message[Symbol.asyncIterator]();
    return this.messages;
  }
}

const done: IteratorReturnResult<undefined> = { done: true, value: undefined };
