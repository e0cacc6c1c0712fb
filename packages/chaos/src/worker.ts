// A worker of the attack. Its environment says where it connects to.
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";
import { type CountRequest, Kind, type WorkRequest } from "./gen/chaos/v1/chaos_pb.js";
import { serviceFor } from "./service.js";

async function work(
  { kind, value, milliseconds }: WorkRequest,
  { attempt }: { readonly attempt: number },
) {
  switch (kind) {
    case Kind.SLOW:
      await delay(milliseconds);
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
        process.kill(process.pid, "SIGKILL");
      }
      break;
    case Kind.BLOCKING: {
      const end = Date.now() + milliseconds;
      while (Date.now() < end) {
        // Nothing else runs meanwhile.
      }
      break;
    }
    default:
  }
  return { value };
}

async function* count({ messages, milliseconds }: CountRequest) {
  for (let index = 0; index < messages; index++) {
    await delay(milliseconds);
    yield { index };
  }
}

process.on("disconnect", () => process.exit());

for (;;) {
  try {
    await serve(
      serviceFor(Number(process.env["CHAOS_NODES"])),
      { work, count },
      { concurrency: 8, drainTimeoutMs: 1000 },
    );
    break;
  } catch {
    // The servers are down: like a supervisor it tries again.
    await delay(500);
  }
}
