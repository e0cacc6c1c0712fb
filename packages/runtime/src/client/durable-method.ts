import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import type { LateCode } from "../message/late-code.js";
import type { MethodBinding } from "../schema/binding.js";
import { nameCall } from "../schema/call-id.js";
import type { Call, SubmitOptions } from "./call.js";
import type { DurableTransport } from "./durable-transport.js";
import { iterateLate, lateCall } from "./late-call.js";
import { loadForCall } from "./load-for-call.js";
import type { Durable } from "./method.js";
import { untilAborted } from "./until-aborted.js";

/** Makes `submit()` and `attach()` of a method, whose code is loaded later. */
export function durableMethod(
  method: MethodBinding,
  durable: LateCode<DurableTransport>,
  owner: string,
): Durable<DescMessage, Call> {
  // The first call need not wait for it then. Where this fails, the call tries again.
  durable.get().catch(() => undefined);
  const submit = async (request: MessageInitShape<DescMessage>, options: SubmitOptions = {}) => {
    const { calls } = durable.loaded ?? (await loadForCall(durable, method.desc, options));
    const callName = calls.name(options.callId);
    await untilAborted(options.signal, () => calls.submit(method, callName, request, options));
    return lateCall(durable, method, callName, "submitted");
  };
  return {
    submit,
    submitAll: (requests, options) =>
      iterateLate(
        durable,
        (code) =>
          code.submitAll(
            requests,
            (request, index) => submit(request, options?.(request, index)),
            method.desc,
          ),
        () => loadForCall(durable, method.desc),
      ),
    attach: (callId) => lateCall(durable, method, nameCall(owner, callId), "unknown"),
  };
}
