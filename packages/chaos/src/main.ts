import { writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { bindService, type Connection, type ServiceBinding } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { Member } from "./arena.js";
import { startBrokers } from "./brokers.js";
import { Checker, type Findings, type Verdict } from "./checker.js";
import { Evidence } from "./evidence.js";
import { nextFault, type Targets } from "./faults.js";
import { describeCall, describeQueues } from "./post-mortem.js";
import { Random } from "./random.js";
import { serviceFor } from "./service.js";
import { readSettings, type Settings, UsageError, usage } from "./settings.js";

/** How long calls may take to end when everything is well again, in ms. */
const graceMs = 120_000;

/** Failures that are explained. */
const explainedLimit = 20;

type Report = (line: string) => void;

function isGood({ accepted, lost, doubled, stuck, left }: Verdict): boolean {
  return lost + doubled + stuck + left === 0 && accepted > 0;
}

async function attack(settings: Settings, evidence: Evidence, report: Report): Promise<Verdict> {
  const { seconds, seed, calls, nodes } = settings;
  const random = new Random(seed);
  // Every second leaves half a megabyte of files that came back.
  const storeMegabytes = 256 + seconds;
  const servers = await startBrokers(nodes, storeMegabytes);
  const members: Member[] = [];
  const binding = bindService(serviceFor(nodes));
  const connection = await connect({ nats: { servers: servers.map(({ url }) => url) } });
  const checker = new Checker(connection, binding);
  const timers: NodeJS.Timeout[] = [];
  let isWell = false;
  try {
    let names = 0;
    const env = () => ({
      CHAOS_NODES: `${nodes}`,
      CHAOS_NAME: `c${names++}`,
      CHAOS_SEED: `${random.between(1, 2 ** 31)}`,
      CHAOS_PAUSE_MS: "25",
    });
    const start = async (script: "worker" | "client") => {
      const log = evidence.log(`${script}-${members.length + 1}`);
      const member = await Member.start(script, servers, env, log, (said) => checker.hear(said));
      members.push(member);
      return member;
    };
    const workers = [await start("worker"), await start("worker"), await start("worker")];
    const clients = [await start("client"), await start("client")];
    const targets: Targets = {
      servers,
      workers,
      clients,
      stream: binding.stream,
      storeMegabytes,
    };

    const faults = new Map<string, number>();
    const startedAt = Date.now();
    const elapsed = () => (Date.now() - startedAt) / 1000;
    let isOver = false;
    const revive = () => {
      for (const member of isOver ? workers : members) {
        member.revive();
      }
    };
    const tellProgress = () => {
      if (!isOver) {
        report(`${elapsed().toFixed(0).padStart(4)} s  ${checker.count} calls accepted`);
      }
    };
    timers.push(setInterval(revive, 500), setInterval(tellProgress, 10_000));
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
        evidence.note(`begins: ${fault.name}`);
        const done = fault
          .run()
          .catch((error) => report(`fault "${fault.name}": ${error}`))
          .finally(() => {
            evidence.note(`ends: ${fault.name}`);
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
    report(`${elapsed().toFixed(0).padStart(4)} s  the attack is over: waiting for what is left`);
    const findings = await settle(checker, clients);
    for (const [name, count] of [...faults].sort()) {
      report(`${`${count}`.padStart(4)} x ${name}`);
    }
    isWell = isGood(findings.verdict);
    if (!isWell) {
      await explain(findings, connection, binding, report);
    }
    return findings.verdict;
  } finally {
    timers.forEach(clearInterval);
    await Promise.all(members.map((member) => member.stop()));
    await connection.close();
    if (!isWell) {
      await evidence.keep(servers);
    }
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Waits until every call has ended, or for as long as the grace lasts. */
async function settle(checker: Checker, clients: readonly Member[]): Promise<Findings> {
  const until = Date.now() + graceMs;
  for (let looks = 0; ; ) {
    const isLast = Date.now() > until;
    const findings = await checker.check().catch((error) => {
      if (isLast) {
        throw error;
      }
      return undefined;
    });
    const areGone = clients.every((client) => !client.isRunning);
    const isOver = findings?.verdict.stuck === 0 && areGone;
    // What one look misses another may see: servers of a cluster lag behind one another.
    looks += isOver ? 1 : 0;
    if (findings && (isLast || (isOver && (findings.failures.length === 0 || looks > 3)))) {
      if (!areGone) {
        checker.miss("an answer that did not come: a client still waits for it");
      }
      return await checker.checkFiles(findings);
    }
    await delay(1_000);
  }
}

/** Tells what the servers have of what is not as it has to be. */
async function explain(
  { failures }: Findings,
  connection: Connection,
  binding: ServiceBinding,
  report: Report,
): Promise<void> {
  try {
    for (const { verdict, call, why } of failures.slice(0, explainedLimit)) {
      report(`${verdict}: ${call ? `${call.method} ${call.callId}: ` : ""}${why}`);
      const lines = call ? await describeCall(connection.nats, binding, call) : [];
      for (const line of lines) {
        report(`  ${line}`);
      }
    }
    for (const line of await describeQueues(connection.nats, binding)) {
      report(line);
    }
  } catch (error) {
    report(`the servers cannot be asked: ${error}`);
  }
}

async function main(): Promise<void> {
  const settings = readSettings(process.argv.slice(2));
  const { seed, nodes } = settings;
  const evidence = new Evidence();
  let isKept = true;
  const report = (line: string) => {
    console.error(line);
    evidence.note(line);
  };
  try {
    report(`seed ${seed}, ${nodes === 1 ? "one server" : "a cluster of three servers"}`);
    const verdict = await attack(settings, evidence, report);
    const { accepted, done, dead, lost, doubled, stuck, left } = verdict;
    console.log(
      `accepted ${accepted} done ${done} dead ${dead} lost ${lost} doubled ${doubled} stuck ${stuck}`,
    );
    if (left > 0) {
      report(`${left} objects are left of calls that are gone`);
    }
    if (settings.json !== undefined) {
      writeFileSync(settings.json, `${JSON.stringify({ seed, nodes, ...verdict })}\n`);
    }
    isKept = !isGood(verdict);
  } finally {
    if (isKept) {
      console.error(`failed: repeat it with --seed ${seed} --nodes ${nodes}`);
      console.error(`stores and logs are in ${evidence.folder}`);
      process.exitCode = 1;
    } else {
      evidence.remove();
    }
  }
}

try {
  await main();
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${usage}` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
