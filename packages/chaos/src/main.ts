import { writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { bindService } from "@jetrpc/runtime";
import { Member } from "./arena.js";
import { startBrokers } from "./brokers.js";
import { Checker, type Verdict } from "./checker.js";
import { nextFault, type Targets } from "./faults.js";
import type { FromClient } from "./message.js";
import { Random } from "./random.js";
import { serviceFor } from "./service.js";

const usage = `npm run chaos -- [options]

  --seconds N   how long everything is attacked (default 60)
  --seed S      repeats the same attack (default: a new one)
  --calls N     ends the attack when so many calls are accepted
  --nodes 1|3   one nats-server, or a cluster of three (default 1)
  --faults RE   only the faults whose names this regular expression matches
  --json FILE   writes the verdict to FILE`;

/** How long calls may take to end when everything is well again, in ms. */
const graceMs = 120_000;

interface Settings {
  readonly seconds: number;
  readonly seed: number;
  readonly calls: number;
  readonly nodes: 1 | 3;
  readonly faults: RegExp;
  readonly json: string | undefined;
}

class UsageError extends Error {}

function readSettings(args: string[]): Settings {
  const { values } = parse(args);
  const number = (name: "seconds" | "seed" | "calls", otherwise: number) => {
    const value = values[name] === undefined ? otherwise : Number(values[name]);
    if (!Number.isInteger(value) || value < 1) {
      throw new UsageError(`--${name} ${values[name]} must be a whole number from 1`);
    }
    return value;
  };
  const nodes = values.nodes ?? "1";
  if (nodes !== "1" && nodes !== "3") {
    throw new UsageError(`--nodes ${nodes} must be 1 or 3`);
  }
  return {
    seconds: number("seconds", 60),
    seed: number("seed", 1 + Math.floor(Math.random() * 2 ** 31)),
    calls: number("calls", Number.MAX_SAFE_INTEGER),
    nodes: nodes === "1" ? 1 : 3,
    faults: readFaults(values.faults),
    json: values.json,
  };
}

function readFaults(pattern = ""): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw new UsageError(`--faults: ${(error as Error).message}`);
  }
}

function parse(args: string[]) {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      args,
      options: { seconds: text, seed: text, calls: text, nodes: text, faults: text, json: text },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function attack(settings: Settings, report: (line: string) => void): Promise<Verdict> {
  const { seconds, seed, calls, nodes } = settings;
  const random = new Random(seed);
  const servers = await startBrokers(nodes);
  const members: Member[] = [];
  const checker = await Checker.start(
    servers.map(({ url }) => url),
    nodes,
  );
  try {
    let names = 0;
    const hear = (message: FromClient) => {
      if ("accepted" in message) {
        checker.accept(message.accepted);
      } else {
        checker.wrong.push(message.wrong);
      }
    };
    const env = () => ({
      CHAOS_NODES: `${nodes}`,
      CHAOS_NAME: `c${names++}`,
      CHAOS_SEED: `${random.between(1, 2 ** 31)}`,
      CHAOS_PAUSE_MS: "25",
    });
    const start = (script: "worker" | "client") =>
      Member.start(script, servers, env, hear).then((member) => {
        members.push(member);
        return member;
      });
    const workers = [await start("worker"), await start("worker"), await start("worker")];
    const clients = [await start("client"), await start("client")];
    const { stream } = bindService(serviceFor(nodes));
    const targets: Targets = { servers, workers, clients, stream };

    const faults = new Map<string, number>();
    const startedAt = Date.now();
    const elapsed = () => (Date.now() - startedAt) / 1000;
    let isOver = false;
    const revive = setInterval(() => {
      for (const member of isOver ? workers : members) {
        member.revive();
      }
    }, 500);
    const progress = setInterval(() => {
      report(`${elapsed().toFixed(0).padStart(4)} s  ${checker.count} calls accepted`);
    }, 10_000);
    // Some time to begin with, then one harm after another, often several at once.
    await delay(2_000);
    const running = new Set<Promise<void>>();
    let isServerHarmed = false;
    while (elapsed() < seconds && checker.count < calls) {
      const fault = nextFault(random, targets, settings.faults);
      const ofServer = fault.name.endsWith(" of a server");
      if (!(ofServer && isServerHarmed)) {
        faults.set(fault.name, (faults.get(fault.name) ?? 0) + 1);
        isServerHarmed ||= ofServer;
        const done = fault
          .run()
          .catch((error) => report(`fault "${fault.name}": ${error}`))
          .finally(() => {
            running.delete(done);
            isServerHarmed &&= !ofServer;
          });
        running.add(done);
      }
      await delay(random.between(100, 1_200));
    }
    await Promise.all(running);
    isOver = true;
    for (const client of clients) {
      client.send("stop");
    }
    clearInterval(progress);
    report(`${elapsed().toFixed(0).padStart(4)} s  the attack is over: waiting for what is left`);
    const verdict = await settle(checker, clients, report);
    clearInterval(revive);
    for (const [name, count] of [...faults].sort()) {
      report(`${`${count}`.padStart(4)} x ${name}`);
    }
    for (const wrong of checker.wrong.slice(0, 10)) {
      report(`a client saw: ${wrong}`);
    }
    return { ...verdict, lost: verdict.lost + checker.wrong.length };
  } finally {
    await Promise.all(members.map((member) => member.stop()));
    await checker.close();
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Waits until every call has ended, or for as long as the grace lasts. */
async function settle(
  checker: Checker,
  clients: readonly Member[],
  report: (line: string) => void,
): Promise<Verdict> {
  const until = Date.now() + graceMs;
  for (;;) {
    const isLast = Date.now() > until;
    const lines: string[] = [];
    const verdict = await checker
      .check((line) => void lines.push(line))
      .catch((error) => {
        if (isLast) {
          throw error;
        }
        return undefined;
      });
    const areGone = clients.every((client) => !client.isRunning);
    if (verdict && (isLast || (verdict.stuck === 0 && areGone))) {
      lines.slice(0, 20).forEach(report);
      if (!areGone) {
        checker.wrong.push("an answer that did not come: a client still waits for it");
      }
      return verdict;
    }
    await delay(1_000);
  }
}

try {
  const settings = readSettings(process.argv.slice(2));
  const { seed, nodes } = settings;
  console.error(`seed ${seed}, ${nodes === 1 ? "one server" : "a cluster of three servers"}`);
  const verdict = await attack(settings, (line) => console.error(line));
  const { accepted, done, dead, lost, doubled, stuck } = verdict;
  console.log(
    `accepted ${accepted} done ${done} dead ${dead} lost ${lost} doubled ${doubled} stuck ${stuck}`,
  );
  if (settings.json !== undefined) {
    writeFileSync(settings.json, `${JSON.stringify({ seed, nodes, ...verdict })}\n`);
  }
  if (lost + doubled + stuck > 0 || accepted === 0) {
    console.error(`failed: repeat it with --seed ${seed} --nodes ${nodes}`);
    process.exitCode = 1;
  }
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${usage}` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
