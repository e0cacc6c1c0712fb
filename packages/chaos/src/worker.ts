// A worker of the attack. Its environment says where it connects to.
import { setTimeout as delay } from "node:timers/promises";
import { blobOf, Code, ConnectError, openBlob } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";
import { turned } from "./content.js";
import {
  type ConvertRequest,
  type CountRequest,
  Kind,
  type WorkRequest,
} from "./gen/chaos/v1/chaos_pb.js";
import { say } from "./say.js";
import { serviceFor } from "./service.js";

/** Which attempt it is. */
interface Context {
  readonly attempt: number;
}

/** Does what a call asks for beside its result. */
async function behave(kind: Kind, milliseconds: number, attempt: number): Promise<void> {
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
}

async function work({ kind, value, milliseconds }: WorkRequest, { attempt }: Context) {
  await behave(kind, milliseconds, attempt);
  return { value };
}

async function* count({ messages, milliseconds }: CountRequest) {
  for (let index = 0; index < messages; index++) {
    await delay(milliseconds);
    yield { index };
  }
}

async function convert({ file, kind, milliseconds }: ConvertRequest, { attempt }: Context) {
  if (!file) {
    throw new ConnectError("no file", Code.DataLoss);
  }
  const pieces = openBlob(file);
  // What goes wrong does so while one file is read and the other one is written.
  async function* result() {
    let isBegun = false;
    for await (const piece of turned(pieces)) {
      yield piece;
      if (!isBegun) {
        isBegun = true;
        await behave(kind, milliseconds, attempt);
      }
      await delay(milliseconds / 20);
    }
  }
  return { file: blobOf(result()) };
}

process.on("disconnect", () => process.exit());
say("started");

for (;;) {
  try {
    await serve(
      serviceFor(Number(process.env["CHAOS_NODES"])),
      { work, count, convert },
      {
        concurrency: 8,
        drainTimeoutMs: 1000,
        logger: ({ message, ...fields }) => say(message, fields),
      },
    );
    say("serves");
    break;
  } catch (error) {
    // The servers are down: like a supervisor it tries again.
    say("cannot serve yet", { error });
    await delay(500);
  }
}
