import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import { Kind, Part, type WorkRequest, WorkResponseSchema } from "./gen/chaos/v1/chaos_pb.js";

/** What of a handler's context a behaviour needs. */
interface Attempt {
  readonly attempt: number;
  readonly signal: AbortSignal;
}

/** Name of the metadata that a call may ask for. */
export const metadataName = "x-chaos";

/** Stands still, and costs no other process its time. */
export function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Does what a call asks for beside its result. A process that is spared is not killed. */
export async function behave(
  kind: Kind,
  milliseconds: number,
  { attempt, signal }: Attempt,
  isSpared: boolean,
): Promise<void> {
  switch (kind) {
    case Kind.SLOW:
      await delay(milliseconds, undefined, { signal });
      break;
    case Kind.FLAKY:
      if (attempt === 1) {
        throw new ConnectError("flaky", Code.Unavailable);
      }
      break;
    case Kind.BAD:
      throw new ConnectError("bad", Code.InvalidArgument);
    case Kind.DEADLY:
      if (attempt === 1) {
        die(isSpared);
      }
      break;
    case Kind.LETHAL:
      die(isSpared);
      break;
    case Kind.BLOCKING:
      block(milliseconds);
      break;
    default:
  }
}

function die(isSpared: boolean): void {
  if (isSpared) {
    throw new ConnectError("as good as dead", Code.Unavailable);
  }
  process.kill(process.pid, "SIGKILL");
}

/** The error of a call that fails for good, of the size that it asks for. */
export function failure({ value, size, part }: WorkRequest): ConnectError {
  switch (part) {
    case Part.METADATA:
      return new ConnectError("bad", Code.InvalidArgument, { [metadataName]: "m".repeat(size) });
    case Part.DETAILS: {
      const detail = { value, padding: new Uint8Array(size) };
      return new ConnectError("bad", Code.InvalidArgument, undefined, [
        { desc: WorkResponseSchema, value: detail },
      ]);
    }
    default:
      return new ConnectError("t".repeat(size), Code.InvalidArgument);
  }
}
