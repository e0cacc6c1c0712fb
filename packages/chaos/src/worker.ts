// A worker of the attack. Its environment says where it connects to.
import { setTimeout as delay } from "node:timers/promises";
import { blobOf, Code, ConnectError, type DurableHandlerContext, openBlob } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";
import { bindService } from "@jetrpc/runtime/schema";
import { behave, block, fails, failure, metadataName, responseOf } from "./behaviour.js";
import { turned } from "./content.js";
import { Crowd } from "./crowd.js";
import {
  type ConvertRequest,
  type CountRequest,
  Kind,
  Part,
  type WorkRequest,
} from "./gen/chaos/v1/chaos_pb.js";
import { Journal } from "./journal.js";
import { noteMemory } from "./memory.js";
import { say } from "./say.js";
import { serviceFor } from "./service.js";

const { CHAOS_NODES, CHAOS_JOURNAL = "", CHAOS_SPARED } = process.env;
const isSpared = CHAOS_SPARED === "1";
const service = serviceFor(Number(CHAOS_NODES));
const journal = new Journal(CHAOS_JOURNAL);
const crowd = new Crowd(bindService(service), journal);

/** Notes that a handler runs, before it does anything else. */
function begin({ method, callId, attempt }: DurableHandlerContext): void {
  journal.say({ began: { method: method.name, callId }, attempt });
}

function work(request: WorkRequest, context: DurableHandlerContext) {
  begin(context);
  const { kind, size, part } = request;
  if (part === Part.METADATA) {
    context.responseHeader.set(metadataName, "h".repeat(size));
    context.responseTrailer.set(metadataName, "t".repeat(size));
  }
  return kind === Kind.QUICK ? responseOf(request) : longer(request, context);
}

async function longer(request: WorkRequest, context: DurableHandlerContext) {
  const { kind, milliseconds } = request;
  const leave = crowd.enter(context.method.name, context.signal);
  try {
    if (fails(request)) {
      throw failure(request);
    }
    context.progress({ done: 0, total: milliseconds });
    await behave(kind, milliseconds, context, isSpared);
    context.progress({ done: milliseconds, total: milliseconds });
    return responseOf(request);
  } finally {
    leave();
  }
}

function ask(request: WorkRequest) {
  if (fails(request)) {
    throw failure(request);
  }
  return responseOf(request);
}

async function* count({ messages, milliseconds }: CountRequest, context: DurableHandlerContext) {
  begin(context);
  const leave = crowd.enter(context.method.name, context.signal);
  try {
    for (let index = 0; index < messages; index++) {
      await delay(milliseconds);
      yield { index };
    }
  } finally {
    leave();
  }
}

async function convert(request: ConvertRequest, context: DurableHandlerContext) {
  begin(context);
  const { file, kind, milliseconds } = request;
  if (!file) {
    throw new ConnectError("no file", Code.DataLoss);
  }
  const pieces = openBlob(file);
  // Failures happen while one file is read and the other one is written.
  async function* result() {
    let isBegun = false;
    for await (const piece of turned(pieces)) {
      yield piece;
      if (!isBegun) {
        isBegun = true;
        await behave(kind, milliseconds, context, isSpared);
      }
      await delay(milliseconds / 20);
    }
  }
  return { file: blobOf(result()) };
}

process.on("disconnect", () => process.exit());
process.on("message", (blockMs) => {
  say("is blocked", { blockMs });
  block(Number(blockMs));
});
// Nobody needs to stay for these messages.
process.channel?.unref();
say("started");
noteMemory(journal);

for (;;) {
  try {
    await serve(
      service,
      {
        work,
        rank: work,
        share: work,
        try: work,
        count,
        convert,
        ask,
      },
      {
        drainTimeoutMs: 1000,
        logger: ({ message, ...fields }) => say(message, fields),
      },
    );
    say("serves");
    journal.say({ ready: true });
    break;
  } catch (error) {
    // The servers are down: like a supervisor it tries again.
    say("cannot serve yet", { error });
    await delay(500);
  }
}
