import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import { Kind, Part, type WorkRequest, WorkResponseSchema } from "./gen/chaos/v1/chaos_pb.js";

/** The parts of a handler's context that a behaviour needs. */
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

/** The response of a handler. */
export function responseOf({ kind, value, size, part }: WorkRequest) {
  return {
    value: kind === Kind.BROKEN ? noNumber : value,
    ...(part === Part.UNSPECIFIED && { padding: new Uint8Array(size) }),
  };
}

/** True when a handler throws {@link failure}. */
export function fails({ kind, part }: WorkRequest): boolean {
  return kind === Kind.BAD || (kind === Kind.BROKEN && part === Part.DETAILS);
}

function die(isSpared: boolean): void {
  if (isSpared) {
    throw new ConnectError("as good as dead", Code.Unavailable);
  }
  process.kill(process.pid, "SIGKILL");
}

/** Something that no int32 can be: handlers without types give it. */
const noNumber = "no number" as unknown as number;

/**
 * The error of a call that fails for good, of the size that it asks for. One that is
 * broken, and does not fail, has another fault: see {@link responseOf}.
 */
export function failure({ kind, size, part }: WorkRequest): ConnectError {
  const value = kind === Kind.BROKEN ? noNumber : 0;
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
