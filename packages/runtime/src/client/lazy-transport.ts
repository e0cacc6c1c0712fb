import { Code, type Transport } from "@connectrpc/connect";
import type { Internals } from "../connection.js";
import { causedError } from "../message/caused-error.js";
import { neverRan } from "../message/error-marks.js";
import type { Caller } from "./caller.js";

/**
 * The transport of a connection. It loads the client with the first call: a program that
 * has workers only never does. Where a generated client was made, all is there already.
 */
export function lazyTransport(own: Internals): Transport {
  let loading: Promise<Transport> | undefined;
  const loaded = () => (own.caller as Caller | undefined)?.transport;
  const load = () => {
    loading ??= import("./caller.js").then(
      ({ callerOf }) => callerOf(own).transport,
      (cause) => {
        // A server of modules may be there again.
        loading = undefined;
        throw neverRan(
          causedError("the code of clients cannot be loaded", Code.Unavailable, cause),
        );
      },
    );
    return loading;
  };
  return {
    unary(method, signal, timeoutMs, header, input, contextValues) {
      const transport = loaded();
      return transport
        ? transport.unary(method, signal, timeoutMs, header, input, contextValues)
        : load().then((late) =>
            late.unary(method, signal, timeoutMs, header, input, contextValues),
          );
    },
    stream(method, signal, timeoutMs, header, input, contextValues) {
      const transport = loaded();
      return transport
        ? transport.stream(method, signal, timeoutMs, header, input, contextValues)
        : load().then((late) =>
            late.stream(method, signal, timeoutMs, header, input, contextValues),
          );
    },
  };
}
