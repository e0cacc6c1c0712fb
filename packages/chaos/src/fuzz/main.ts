import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Random } from "../random.js";
import { runCommand } from "../run-command.js";
import { checkAftermath } from "./aftermath.js";
import { Arena } from "./arena.js";
import { draw } from "./corpus.js";
import { Live } from "./live.js";
import { type Draft, describeDraft, encodeDraft } from "./message.js";
import { mutate } from "./mutate.js";
import { readSettings, type Settings, usage } from "./settings.js";
import { shrink } from "./shrink.js";

/** Messages that are written at once. */
const batchSize = 256;

/** Messages that are remembered for the report of a failure. */
const rememberedSize = 4_096;

/** Queued requests above which no more are sent, and below which it goes on. */
const queueHigh = 400;
const queueLow = 50;

const report = (line: string) => console.error(line);

/** Message of an index: the same for a seed, but for the subjects of what is under way. */
function messageAt(seed: number, index: number, live: Live): Draft {
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b));
  return mutate(draw(random, live), random);
}

/** Sends messages while nothing goes wrong. */
async function send(arena: Arena, seed: number, indexes: readonly number[]): Promise<void> {
  const drafts = indexes.map((index) => encodeDraft(messageAt(seed, index, arena.live)));
  await arena.or(arena.sender.write(Buffer.concat(drafts)));
}

async function fuzz(settings: Settings, folder: string): Promise<Outcome> {
  const { seed, from, to, seconds } = settings;
  const arena = await Arena.start(folder, seed);
  const startedAt = Date.now();
  const elapsed = () => (Date.now() - startedAt) / 1000;
  let next = from;
  let memory = { worker: arena.worker.rss, client: arena.client.rss };
  const progress = setInterval(() => {
    const { worker, client, health } = arena;
    report(
      `${elapsed().toFixed(0).padStart(4)} s  ${next - from} messages, ${health.probes} probes, ${health.missed} missed, slowest ${health.slowestMs.toFixed(0)} ms, MB ${worker.rss >> 20} ${client.rss >> 20}`,
    );
  }, 10_000);
  try {
    const indexes = settings.only ?? [];
    if (settings.only) {
      await send(arena, seed, indexes);
      await arena.flush();
      // Queued calls run later.
      await arena.or(delay(3_000));
    }
    let taken: Promise<void> = Promise.resolve();
    while (!settings.only && next < to && elapsed() < seconds && arena.problem === undefined) {
      const size = Math.min(batchSize, to - next);
      await send(
        arena,
        seed,
        Array.from({ length: size }, (_, i) => next + i),
      );
      next += size;
      const before = taken;
      taken = arena.flush();
      await before;
      if (((next - from) / batchSize) % 8 === 0) {
        await arena.or(untilShort(arena));
      }
      if (next - from <= (to - from) / 10) {
        const { worker, client } = arena;
        memory = {
          worker: Math.max(memory.worker, worker.rss),
          client: Math.max(memory.client, client.rss),
        };
      }
    }
    await taken;
    const sent = settings.only?.length ?? next - from;
    if (arena.problem === undefined) {
      report(`${elapsed().toFixed(0).padStart(4)} s  all are sent: waiting for what is left`);
      await checkAftermath(arena, memory);
    }
    tell(arena, sent);
    return { sent, next, problem: arena.problem };
  } finally {
    clearInterval(progress);
    await arena.stop();
  }
}

interface Outcome {
  readonly sent: number;
  readonly next: number;
  readonly problem: string | undefined;
}

/** Waits until the worker has done most of what is queued. */
async function untilShort(arena: Arena): Promise<void> {
  const until = Date.now() + 120_000;
  let left = await arena.queued();
  if (left < queueHigh) {
    return;
  }
  while (left > queueLow && arena.problem === undefined) {
    if (Date.now() > until) {
      await arena.failQueued("after two minutes");
    }
    await delay(100);
    left = await arena.queued();
  }
}

function tell({ sender, worker, client, health }: Arena, sent: number): void {
  report(`sent ${sent}; the server closed the connection ${sender.closed} times`);
  for (const [error, count] of sender.errors) {
    report(`${`${count}`.padStart(8)} x ${error}`);
  }
  report(
    `probes ${health.probes}, missed ${health.missed}, slowest ${health.slowestMs.toFixed(0)} ms`,
  );
  const lists = {
    "calls of the client": Object.entries(client.outcomes),
    "log of the worker": [...worker.log.records],
    "log of the client": [...client.log.records],
  };
  for (const [what, list] of Object.entries(lists)) {
    report(`${what}:`);
    for (const [name, count] of list.sort(([, a], [, b]) => b - a).slice(0, 30)) {
      report(`${`${count}`.padStart(8)} x ${name}`);
    }
  }
}

async function main(args: string[]): Promise<void> {
  const settings = readSettings(args);
  const { seed } = settings;
  const folder = mkdtempSync(join(tmpdir(), "jetrpc-fuzz-"));
  report(`seed ${seed}`);
  const { sent, next, problem } = await fuzz(settings, folder);
  if (problem === undefined) {
    rmSync(folder, { recursive: true });
    console.log(`sent ${sent}: all is well`);
    return;
  }
  process.exitCode = 1;
  report(`\nFAILED: ${problem}\n`);
  report(`the last messages before were up to ${next - 1}; repeat it with`);
  report(
    `  npm run fuzz -- --seed ${seed} --from ${Math.max(0, next - rememberedSize)} --messages ${rememberedSize}`,
  );
  if (settings.shrinks && !settings.only) {
    const first = Math.max(settings.from, next - rememberedSize);
    const suspects = Array.from({ length: next - first }, (_, i) => first + i);
    const guilty = await shrink(
      suspects,
      problem,
      (indexes) => trial(seed, indexes, folder),
      report,
    );
    if (guilty) {
      report(`these are enough: npm run fuzz -- --seed ${seed} --only ${guilty.join()}`);
      for (const index of guilty.slice(0, 10)) {
        report(describeDraft(index, messageAt(seed, index, new Live())));
      }
    }
  }
  writeFileSync(join(folder, "problem.txt"), problem);
  report(`logs are in ${folder}`);
}

/** The problem that these messages cause in new processes, if any. */
async function trial(
  seed: number,
  indexes: readonly number[],
  folder: string,
): Promise<string | undefined> {
  const arena = await Arena.start(folder, seed);
  try {
    for (let at = 0; at < indexes.length && arena.problem === undefined; at += batchSize) {
      await send(arena, seed, indexes.slice(at, at + batchSize));
      await arena.flush();
    }
    await arena.or(delay(2_500));
    return arena.problem;
  } finally {
    await arena.stop();
  }
}

await runCommand(usage, main);
