import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { neverRanCopy } from "../message/error-marks.js";
import type { LateCode } from "../message/late-code.js";
import { toConnectError } from "../message/thrown.js";
import type { WaitOptions } from "./call.js";
import { untilAborted } from "./until-aborted.js";

/**
 * Loads the code of a call, unless the caller gives up or the time of the call is over before.
 * Its errors say that the call never ran.
 */
export async function loadForCall<T>(
  code: LateCode<T>,
  method: DescMethod,
  options?: WaitOptions,
): Promise<T> {
  try {
    return await loadForWait(code, method, options);
  } catch (error) {
    throw neverRanCopy(toConnectError(error));
  }
}

/** The same for a call that was submitted before: it may have run. */
export function loadForWait<T>(
  code: LateCode<T>,
  method: DescMethod,
  { signal, timeoutMs = 0 }: WaitOptions = {},
): Promise<T> {
  const error = () => {
    const text = `${method.toString()} did not end within ${timeoutMs} ms: its code was not loaded in time`;
    return new ConnectError(text, Code.DeadlineExceeded);
  };
  const deadline = timeoutMs > 0 ? { leftMs: timeoutMs, error } : undefined;
  return untilAborted(signal, () => code.get(), deadline);
}
