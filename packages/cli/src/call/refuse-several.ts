import { UsageError } from "../exit-code.js";

/** Throws UsageError when several calls have an id that is to mean one; it names the options that tell them apart. */
export function refuseSeveral(
  callId: string,
  found: readonly { readonly method: string; readonly owner: string }[],
): void {
  if (found.length > 1) {
    const all = found.map(({ method, owner }) => `--method ${method} --owner ${owner}`);
    throw new UsageError(`several calls have the id ${callId}: add one of ${all.join(", ")}`);
  }
}
