// A client or a worker of `npm run bench:attach`: `attach-process.js <submit|attach> <NATS URL>`.
import type { Submitted } from "@jetrpc/runtime";
import { repeat } from "./backlogs/jetrpc.js";
import type { LoadFailure } from "./load.js";
import { client } from "./subjects/jetrpc.js";

/** Messages of one streamed call. */
const streamedMessages = 10;

/** A value for each of the two kinds of calls. */
export interface ByKind<T> {
  readonly unary: T;
  readonly streamed: T;
}

/** Asks a process `submit` to submit so many calls. */
export interface SubmitRequest extends ByKind<number> {
  readonly payloadBytes: number;
  /** How many call ids of each kind to answer with, evenly spread. */
  readonly sample: number;
}

/** The answer when the server has accepted all of them. */
export interface SubmitReply {
  readonly callIds: ByKind<string[]>;
}

/** Asks a process `attach` to attach to calls, one after the other. */
export type AttachRequest = ByKind<string[]>;

/** The answer: how long each took, in ms. */
export type AttachReply = ByKind<number[]>;

type Bench = Awaited<ReturnType<typeof client>>;

async function submit(bench: Bench, request: SubmitRequest): Promise<SubmitReply> {
  const { unary, streamed, sample } = request;
  const payload = new Uint8Array(request.payloadBytes).fill(7);
  const callIds = {
    unary: await accepted(bench.echoDurably.submitAll(repeat({ payload }, unary)), unary, sample),
    streamed: await accepted(
      bench.countDurably.submitAll(repeat({ messages: streamedMessages }, streamed)),
      streamed,
      sample,
    ),
  };
  return { callIds };
}

/** Waits until all are accepted, and keeps no more of them than some ids. */
async function accepted(
  submissions: AsyncIterable<Submitted<{ id: string }>>,
  count: number,
  sample: number,
): Promise<string[]> {
  const ids: string[] = [];
  let index = 0;
  for await (const { call, error } of submissions) {
    if (!call) {
      throw error;
    }
    if (index++ >= (ids.length * count) / sample) {
      ids.push(call.id);
    }
  }
  return ids;
}

async function attach(bench: Bench, callIds: AttachRequest): Promise<AttachReply> {
  return {
    unary: await time(callIds.unary, (id) => bench.echoDurably.attach(id).result()),
    streamed: await time(callIds.streamed, async (id) => {
      let messages = 0;
      for await (const _ of bench.countDurably.attach(id)) {
        messages++;
      }
      if (messages !== streamedMessages) {
        throw new Error(`call ${id} has ${messages} messages`);
      }
    }),
  };
}

async function time(
  ids: readonly string[],
  work: (id: string) => Promise<unknown>,
): Promise<number[]> {
  const times: number[] = [];
  for (const id of ids) {
    const begin = performance.now();
    await work(id);
    times.push(performance.now() - begin);
  }
  return times;
}

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [role, natsUrl = ""] = process.argv.slice(2);
const send = (message: unknown) => process.send?.(message);
const bench = await client([natsUrl]);
process.on("message", (request) => {
  const work =
    role === "submit"
      ? submit(bench, request as SubmitRequest)
      : attach(bench, request as AttachRequest);
  work.catch((error): LoadFailure => ({ error: String(error) })).then(send);
});
send("");
