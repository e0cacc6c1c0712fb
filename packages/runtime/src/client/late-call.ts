import type { DescMessage } from "@bufbuild/protobuf";
import type { FollowFrom } from "../ledger/following.js";
import { Interruptible } from "../link/interruptible.js";
import type { LateCode } from "../message/late-code.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import type { StreamingCall, UnaryCall, WaitOptions } from "./call.js";
import { callHandle } from "./call-handle.js";
import type { DurableTransport } from "./durable-transport.js";
import { loadForWait } from "./load-for-call.js";

/** A durable call to come back to. The code of durable calls is loaded when it is first used. */
export function lateCall(
  durable: LateCode<DurableTransport>,
  method: MethodBinding,
  call: CallName,
  from: FollowFrom,
): UnaryCall<DescMessage> | StreamingCall<DescMessage> {
  const { desc } = method;
  const load = async (options?: WaitOptions) =>
    (durable.loaded ?? (await loadForWait(durable, desc, options))).calls;
  const iterate = <T>(
    open: (code: DurableTransport) => AsyncIterableIterator<T>,
    options?: WaitOptions,
  ) => iterateLate(durable, open, () => loadForWait(durable, desc, options));
  return callHandle(desc, call.callId, {
    progress: (options) =>
      iterate(({ calls }) => calls.progress(method, call, from, options), options),
    status: async (options) => (await load(options)).status(method, call, options),
    cancel: async (options) => (await load(options)).cancel(method, call, options),
    result: async (options) => (await load(options)).result(method, call, from, options),
    messages: ({ from: skip = 0, ...wait }) =>
      iterate(
        ({ calls }) =>
          calls.messages(method, call, calls.follow(method, call, from), { skip, ...wait }),
        wait,
      ),
  });
}

/** Iterates over what the code of durable calls gives, and loads it where it is not there. */
export function iterateLate<T>(
  durable: LateCode<DurableTransport>,
  open: (code: DurableTransport) => AsyncIterableIterator<T>,
  load: () => Promise<DurableTransport>,
): AsyncIterableIterator<T> {
  if (durable.loaded) {
    return open(durable.loaded);
  }
  let opened: AsyncIterableIterator<T> | undefined;
  let hasLeft = false;
  async function* read(): AsyncGenerator<T, void, undefined> {
    const code = await load();
    if (!hasLeft) {
      opened = open(code);
      yield* opened;
    }
  }
  return new Interruptible(read(), () => {
    hasLeft = true;
    void opened?.return?.();
  });
}
