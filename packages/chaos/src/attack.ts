import { setTimeout as delay } from "node:timers/promises";
import type { Connection } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { bindService, type ServiceBinding } from "@jetrpc/runtime/schema";
import type { NatsServer } from "@jetrpc/testing";
import { Member } from "./arena.js";
import { startBrokers } from "./brokers.js";
import { Checker } from "./checker.js";
import type { Evidence } from "./evidence.js";
import { explain } from "./explain.js";
import { nextFault } from "./faults/index.js";
import { probe } from "./probe.js";
import { Random } from "./random.js";
import { serviceFor } from "./service.js";
import type { Settings } from "./settings.js";
import { settle } from "./settle.js";
import { Storm } from "./storm.js";
import { type Findings, isGood, type Verdict } from "./verdict.js";

const workerCount = 3;
const clientCount = 2;

/** Without harm for so long, in ms: there the calls are counted that are accepted in a second. */
const calmMs = 3_000;

/** Tells a person how it goes. */
export type Report = (line: string) => void;

/** Attacks servers, workers and clients, and tells what became of the calls. */
export async function attack(
  settings: Settings,
  evidence: Evidence,
  report: Report,
): Promise<Verdict> {
  const { seconds, nodes } = settings;
  // Every second leaves a megabyte or two of results.
  const storeMegabytes = 256 + 2 * seconds;
  const servers = await startBrokers(nodes, storeMegabytes);
  const binding = bindService(serviceFor(nodes));
  const connection = await connect({ nats: { servers: servers.map(({ url }) => url) } });
  const arena = new Attack(settings, evidence, report, servers, connection, binding);
  let isWell = false;
  try {
    const findings = await arena.run(storeMegabytes);
    isWell = isGood(findings.verdict);
    if (!isWell) {
      await explain(findings, connection, binding, report);
    }
    return findings.verdict;
  } finally {
    await arena.stop();
    await connection.close();
    if (!isWell) {
      await evidence.keep(servers);
    }
    await Promise.all(servers.map((server) => server.stop()));
  }
}

class Attack {
  private readonly random: Random;
  private readonly checker: Checker;
  private readonly workers: Member[] = [];
  private readonly clients: Member[] = [];
  private readonly timers: NodeJS.Timeout[] = [];
  private startedAt = Date.now();
  /** Calls accepted in a second while nothing was harmed. */
  private readonly rates: number[] = [];
  private names = 0;
  private isOver = false;

  constructor(
    private readonly settings: Settings,
    private readonly evidence: Evidence,
    private readonly report: Report,
    private readonly servers: readonly NatsServer[],
    private readonly connection: Connection,
    private readonly binding: ServiceBinding,
  ) {
    this.random = new Random(settings.seed);
    this.checker = new Checker(connection, binding);
  }

  async run(storeMegabytes: number): Promise<Findings> {
    const { random, checker, workers, clients, servers, binding, settings } = this;
    await this.start();
    this.startedAt = Date.now();
    const { removed } = checker;
    const targets = { servers, workers, clients, binding, storeMegabytes, removed };
    const storm = new Storm(
      random,
      () => nextFault(random, targets, settings.faults),
      (line) => this.evidence.note(line),
      (why) => {
        this.report(why);
        // Calls that it removed cannot be told from calls that were lost.
        checker.miss("lost", why);
      },
    );
    const isOver = () => this.seconds >= settings.seconds || checker.count >= settings.calls;
    // Some time to begin with.
    await delay(2_000);
    while (!isOver()) {
      await storm.rage(random.between(3_000, 9_000), isOver);
      await this.calm();
    }
    this.isOver = true;
    for (const client of clients) {
      client.finish();
    }
    this.say("the attack is over: waiting for what is left");
    const findings = await settle(
      checker,
      clients,
      () => probe(this.connection, settings.nodes),
      () => this.hear(),
    );
    for (const [name, count] of [...storm.counts].sort()) {
      this.report(`${`${count}`.padStart(4)} x ${name}`);
    }
    this.report(`${median(this.rates)} calls accepted in a second without harm`);
    return findings;
  }

  async stop(): Promise<void> {
    this.timers.forEach(clearInterval);
    await Promise.all(this.members.map((member) => member.stop()));
  }

  private get members(): Member[] {
    return [...this.workers, ...this.clients];
  }

  private get seconds(): number {
    return (Date.now() - this.startedAt) / 1000;
  }

  private async start(): Promise<void> {
    for (let index = 1; index <= workerCount; index++) {
      this.workers.push(await this.startMember("worker", index));
    }
    for (let index = 1; index <= clientCount; index++) {
      this.clients.push(await this.startMember("client", index));
    }
    await Promise.all(this.members.map((member) => member.whenReady()));
    const revive = () => {
      for (const member of this.isOver ? this.workers : this.members) {
        member.revive();
      }
    };
    this.timers.push(
      setInterval(revive, 500),
      setInterval(() => this.hear(), 500),
      setInterval(() => this.isOver || this.say(`${this.checker.count} calls accepted`), 10_000),
    );
  }

  /** The first of each is never killed: it shows what a long life does to its memory. */
  private startMember(script: "worker" | "client", index: number): Promise<Member> {
    const { settings, random, servers, evidence, checker } = this;
    const env = () => ({
      CHAOS_NODES: `${settings.nodes}`,
      CHAOS_NAME: `c${this.names++}`,
      CHAOS_SEED: `${random.between(1, 2 ** 31)}`,
      CHAOS_RATE: `${settings.rate}`,
      CHAOS_CLIENTS: `${clientCount}`,
      CHAOS_KINDS: settings.kinds.source,
    });
    const part = { script, name: `${script}-${index}`, isSpared: index === 1, env };
    return Member.start(part, servers, evidence, (why) => checker.miss("crashed", why));
  }

  private hear(): void {
    for (const member of this.members) {
      for (const said of member.hear()) {
        this.checker.hear(said);
      }
    }
  }

  private async calm(): Promise<void> {
    await delay(500);
    this.hear();
    const before = this.checker.count;
    const startedAt = performance.now();
    await delay(calmMs);
    this.hear();
    const seconds = (performance.now() - startedAt) / 1000;
    this.rates.push(Math.round((this.checker.count - before) / seconds));
  }

  private say(line: string): void {
    this.report(`${this.seconds.toFixed(0).padStart(4)} s  ${line}`);
  }
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}
