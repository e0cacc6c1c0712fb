import type {
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  Message,
} from "@bufbuild/protobuf";
import {
  createClient as createConnectClient,
  type StreamResponse,
  type Transport,
} from "@connectrpc/connect";
import { type Connection, internalsOf } from "../connection.js";
import { asStream } from "../message/interceptor-chain.js";
import { bindService, type MethodBinding } from "../schema/binding.js";
import { holdsBlobs } from "../schema/blob-fields.js";
import { nameCall } from "../schema/call-id.js";
import type { SubmitOptions } from "./call.js";
import type { CallOptions } from "./call-options.js";
import { callerOf } from "./caller.js";
import type { DurableCalls } from "./durable-calls.js";
import { submitAll } from "./submit-all.js";
import type { CallTransport } from "./transport.js";
import { untilAborted } from "./until-aborted.js";

// biome-ignore lint/suspicious/noExplicitAny: the generated interface C gives the types
type AnyMethod = (request: any, options?: CallOptions) => any;

/**
 * Makes a client of a service: a Connect client whose durable methods have
 * `submit()` and `attach()`. `C` is the generated client interface; the
 * generated `create…Client()` calls this.
 *
 * Throws InvalidArgument when an option of the service is wrong.
 */
export function createClient<C>(service: DescService, connection: Connection): C {
  const { calls, transport } = callerOf(internalsOf(connection));
  const client = createConnectClient(service, transport) as Record<string, AnyMethod>;
  for (const [name, method] of bindService(service).methods) {
    const callable = methodOf(method, transport) ?? (client[name] as AnyMethod);
    Object.defineProperty(client, name, {
      value: method.delivery === "durable" ? withSubmit(callable, method, calls) : callable,
      enumerable: true,
    });
  }
  return client as C;
}

/** The methods that Connect's own client has slower. */
function methodOf(method: MethodBinding, transport: CallTransport): AnyMethod | undefined {
  const { desc, delivery } = method;
  switch (desc.methodKind) {
    case "unary":
      return delivery === "direct"
        ? transport.directUnary(method, desc as DescMethodUnary)
        : undefined;
    case "server_streaming":
    case "bidi_streaming":
      return streamingMethod(desc as DescMethodStreaming, transport);
    default:
      return undefined;
  }
}

function withSubmit(call: AnyMethod, method: MethodBinding, calls: DurableCalls) {
  const open = (callName: ReturnType<DurableCalls["name"]>, from: "submitted" | "unknown") =>
    method.desc.methodKind === "unary"
      ? calls.unaryCall(method, callName, from)
      : calls.streamingCall(method, callName, from);
  const submit = async (request: never, options: SubmitOptions = {}) => {
    const callName = calls.name(options.callId);
    await untilAborted(options.signal, () => calls.submit(method, callName, request, options));
    return open(callName, "submitted");
  };
  return Object.assign(call, {
    submit,
    submitAll: (
      requests: Iterable<never> | AsyncIterable<never>,
      options?: (request: never, index: number) => SubmitOptions,
    ) =>
      submitAll(
        requests,
        (request, index) => submit(request, options?.(request, index)),
        holdsBlobs(method.desc.input),
      ),
    attach: (callId: string) => open(nameCall(calls.owner, callId), "unknown"),
  });
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
    // Not AbortSignal.any(): a signal that lives long would keep something of every call.
    if (signal?.aborted) {
      this.abort();
    } else {
      signal?.addEventListener("abort", this.abort);
    }
    this.messages = this.open(
      transport.stream(method, this.controller.signal, timeoutMs, headers, input, contextValues),
    );
    // next() gives the error to whoever reads.
    this.messages.catch(() => this.release());
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
