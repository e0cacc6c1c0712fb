// The worker that is fuzzed. Every line of its stderr is JSON, but for what Node itself prints.
import { setTimeout as delay } from "node:timers/promises";
import {
  type Blob,
  blobOf,
  Code,
  ConnectError,
  type HandlerContext,
  openBlob,
} from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { FuzzService, type Item, type StoreRequest } from "../gen/fuzz/v1/fuzz_pb.js";
import { say } from "../say.js";
import { meetingLimitMs, meetingOf } from "./meeting.js";
import { reportHealth } from "./report-health.js";

/** Longest stream that a request may ask for. */
const longestStream = 50;

/** Calls that wait for each other, by what they say. */
const meetings = new Map<string, { here: number; all: () => void; met: Promise<void> }>();

/** Waits until as many calls run at once as the request wants. */
async function meet(text: string): Promise<void> {
  const size = meetingOf(text);
  if (size === undefined) {
    return;
  }
  let meeting = meetings.get(text);
  if (!meeting) {
    let all = () => {};
    const met = new Promise<void>((resolve) => {
      all = resolve;
    });
    meeting = { here: 0, all, met };
    meetings.set(text, meeting);
  }
  if (++meeting.here === size) {
    meeting.all();
    meetings.delete(text);
  }
  const late = delay(meetingLimitMs, undefined, { ref: false }).then(() => {
    throw new ConnectError(`${meeting.here} of ${size} calls run at once`, Code.Aborted);
  });
  await Promise.race([meeting.met, late]);
}

/** Does what a request asks for, and gives its metadata back. */
async function behave({ text, milliseconds, code }: Item, context: HandlerContext): Promise<void> {
  context.requestHeader.forEach((value, name) => {
    context.responseHeader.append(name, value);
    context.responseTrailer.append(name, value);
  });
  await meet(text);
  if (milliseconds > 0) {
    await delay(Math.min(milliseconds, 20));
    context.signal.throwIfAborted();
  }
  if (Code[code] !== undefined) {
    throw new ConnectError(text, code);
  }
}

async function answer(request: Item, context: HandlerContext): Promise<Item> {
  await behave(request, context);
  return request;
}

async function* answers(request: Item, context: HandlerContext) {
  await behave(request, context);
  for (let number = 0; number < Math.min(request.number, longestStream); number++) {
    yield { number, text: request.text };
  }
}

async function sum(requests: AsyncIterable<Item>, context: HandlerContext) {
  let number = 0;
  for await (const request of requests) {
    await behave(request, context);
    number = (number + request.number) | 0;
  }
  return { number };
}

async function* chat(requests: AsyncIterable<Item>, context: HandlerContext) {
  for await (const request of requests) {
    yield await answer(request, context);
  }
}

async function work(request: Item, context: HandlerContext & { progress(report: object): void }) {
  context.progress({ done: 1, total: 2, message: request.text.slice(0, 20) });
  return await answer(request, context);
}

async function store({ file, text }: StoreRequest) {
  await meet(text);
  async function* pieces(of: Blob) {
    yield* openBlob(of);
  }
  return { text, ...(file && { file: blobOf(pieces(file)) }) };
}

reportHealth(() => ({}));
const connection = await connect({ inboxPrefix: "_INBOX_WORKER" });
await serve(
  FuzzService,
  {
    echo: answer,
    limited: answer,
    count: answers,
    sum,
    chat,
    work,
    list: answers,
    store,
    rank: answer,
  },
  {
    connection,
    // A fault that ends the connection ends the process, as it does for users.
    logger: ({ message, ...fields }) => say(message, fields),
  },
);
process.send?.({ isReady: true });
