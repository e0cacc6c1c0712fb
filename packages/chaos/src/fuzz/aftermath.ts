import { setTimeout as delay } from "node:timers/promises";
import { type CallOptions, createClient } from "@jetrpc/runtime";
import { FuzzService } from "../gen/fuzz/v1/fuzz_pb.js";
import type { Arena } from "./arena.js";
import { stream } from "./corpus.js";
import { meetingText } from "./meeting.js";
import type { FuzzClient } from "./service.js";

/** How long queues may take to get empty, in ms. */
const emptyLimitMs = 120_000;

/** How long calls may take that need every slot, in ms. */
const callLimitMs = 60_000;

/** How much a process may grow: to so many times its memory at first, and so much more. */
const growth = 2;
const slackBytes = 150 * 1024 * 1024;

/** Looks whether everything is as it was, when no more messages come. */
export async function checkAftermath(
  arena: Arena,
  memory: { worker: number; client: number },
): Promise<void> {
  await arena.flush();
  // Its calls would have slots.
  await arena.or(arena.client.quiet());
  await arena.or(untilEmpty(arena));
  if (arena.problem === undefined) {
    await arena.or(useEverySlot(arena));
  }
  if (arena.problem !== undefined) {
    return;
  }
  for (const name of ["", "_LOG", "_PROGRESS", "_DEAD", "_LATER"]) {
    await arena.ask(`STREAM.INFO.${stream}${name}`).catch((error) => arena.fail(String(error)));
  }
  for (const name of ["worker", "client"] as const) {
    const { rss } = arena[name];
    if (rss > memory[name] * growth + slackBytes) {
      arena.fail(`${name}: its memory grew from ${memory[name]} to ${rss} bytes`);
    }
  }
  const { verdict } = arena.health;
  if (verdict) {
    arena.fail(verdict);
  }
  const [right, all] = directCalls(arena.client.outcomes);
  if (right < all * leastRight) {
    arena.fail(`only ${right} of ${all} direct calls that nobody harms succeeded`);
  }
}

/**
 * How many direct calls that nobody harms must succeed: others may find a busy machine.
 * Durable calls may not: the worker whose answers are forged is theirs, too.
 */
const leastRight = 0.8;

/** Direct calls of the clean client: how many succeeded, and how many there were. */
function directCalls(outcomes: Readonly<Record<string, number>>): [right: number, all: number] {
  const counts = Object.entries(outcomes).filter(([name]) => name.startsWith("clean direct"));
  return [outcomes["clean direct right"] ?? 0, counts.reduce((all, [, count]) => all + count, 0)];
}

async function untilEmpty(arena: Arena): Promise<void> {
  const until = Date.now() + emptyLimitMs;
  for (;;) {
    const left = await arena.queued().catch(() => Number.NaN);
    if (left === 0) {
      return;
    }
    if (Date.now() > until) {
      await arena.failQueued(`${emptyLimitMs} ms after the last message`);
      return;
    }
    await delay(500);
  }
}

/** Has as many calls of each method wait for each other as there are slots for. */
async function useEverySlot(arena: Arena): Promise<void> {
  const client = createClient<FuzzClient>(FuzzService, arena.connection);
  const options: CallOptions = { timeoutMs: callLimitMs };
  const drain = async (messages: AsyncIterable<unknown>) => {
    for await (const _ of messages) {
      // Only its end matters.
    }
  };
  async function* one(text: string) {
    yield { text };
  }
  const methods: [name: string, slots: number, call: (text: string) => Promise<unknown>][] = [
    ["Echo", 10, (text) => client.echo({ text }, options)],
    ["Limited", 4, (text) => client.limited({ text }, options)],
    ["Count", 64, (text) => drain(client.count({ text }, options))],
    ["Sum", 64, (text) => client.sum(one(text), options)],
    ["Chat", 64, (text) => drain(client.chat(one(text), options))],
    ["Work", 10, (text) => client.work({ text }, options)],
    ["List", 10, (text) => drain(client.list({ text }, options))],
    ["Store", 10, (text) => client.store({ text }, options)],
    ["Rank", 10, (text) => client.rank({ text }, options)],
  ];
  for (const [name, slots, call] of methods) {
    const text = meetingText(name, slots);
    try {
      await Promise.all(Array.from({ length: slots }, () => call(text)));
    } catch (error) {
      arena.fail(`${slots} calls of ${name} do not run at once: ${error}`);
      return;
    }
  }
}
