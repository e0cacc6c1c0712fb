import type { DescService } from "@bufbuild/protobuf";
import { type CallOptions, createClient as createConnectClient } from "@connectrpc/connect";
import { type Connection, internals } from "../connection.js";
import { bindService, type MethodBinding } from "../wire/binding.js";
import { nameCall } from "../wire/call-id.js";
import type { SubmitOptions } from "./call.js";
import type { DurableCalls } from "./durable-calls.js";

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
  const { calls } = connection[internals];
  const client = createConnectClient(service, connection.transport) as Record<string, AnyMethod>;
  for (const [name, method] of bindService(service).methods) {
    const call = client[name] as AnyMethod;
    const streams =
      method.desc.methodKind === "server_streaming" || method.desc.methodKind === "bidi_streaming";
    const callable = streams ? endOnReturn(call) : call;
    Object.defineProperty(client, name, {
      value: method.delivery === "durable" ? withSubmit(callable, method, calls) : callable,
      enumerable: true,
    });
  }
  return client as C;
}

function withSubmit(call: AnyMethod, method: MethodBinding, calls: DurableCalls) {
  const open = (callName: ReturnType<DurableCalls["name"]>, from: "submitted" | "unknown") =>
    method.desc.methodKind === "unary"
      ? calls.unaryCall(method, callName, from)
      : calls.streamingCall(method, callName, from);
  return Object.assign(call, {
    async submit(request: never, options: SubmitOptions = {}) {
      const callName = calls.name(options.callId);
      await calls.submit(method, callName, request, options);
      return open(callName, "submitted");
    },
    attach: (callId: string) => open(nameCall(calls.owner, callId), "unknown"),
  });
}

/**
 * Ends the call when the caller leaves its loop: Connect's client alone would
 * go on to receive.
 */
function endOnReturn(call: AnyMethod): AnyMethod {
  return (request, options) => ({
    [Symbol.asyncIterator]() {
      const controller = new AbortController();
      const signal = options?.signal
        ? AbortSignal.any([options.signal, controller.signal])
        : controller.signal;
      const iterator = call(request, { ...options, signal })[Symbol.asyncIterator]();
      return {
        next: () => iterator.next(),
        async return(value: unknown) {
          controller.abort();
          return { done: true, value };
        },
      };
    },
  });
}
