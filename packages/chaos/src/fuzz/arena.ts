import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Connection } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { prefix, stream } from "./corpus.js";
import { Health } from "./health.js";
import { Live, Tap } from "./live.js";
import { maxPayload } from "./mutate.js";
import { Sender } from "./sender.js";
import { ProcessLog, SubjectProcess } from "./subject-process.js";

/** Replies of 4 KB are lawful; a server takes lines of 4 KB in all by default. */
const config = "max_control_line: 16KB";

/** How long the worker may take for what was sent to it, in ms. */
const flushLimitMs = 60_000;

/** A server, a worker, a client and their supervisors: the targets of the messages. */
export class Arena {
  readonly live = new Live();
  /** The first problem. */
  problem: string | undefined;
  private hasProblem: () => void = () => undefined;
  /** Resolves when something has gone wrong. */
  readonly isBroken = new Promise<void>((resolve) => {
    this.hasProblem = resolve;
  });
  worker!: SubjectProcess;
  client!: SubjectProcess;
  health!: Health;
  connection!: Connection;
  sender!: Sender;
  private readonly taps: Tap[] = [];

  private constructor(private readonly server: NatsServer) {}

  static async start(folder: string, seed: number): Promise<Arena> {
    const server = await startNats({ config, maxPayload });
    const arena = new Arena(server);
    try {
      await arena.begin(folder, seed);
      return arena;
    } catch (error) {
      await arena.stop();
      throw error;
    }
  }

  fail(what: string): void {
    this.problem ??= what;
    this.hasProblem();
  }

  private async begin(folder: string, seed: number): Promise<void> {
    const { server } = this;
    const onProblem = (what: string) => this.fail(what);
    const begin = async (name: "worker" | "client") => {
      const tap = await Tap.start(server.port, this.live);
      this.taps.push(tap);
      const env = { NATS_URL: tap.url, FUZZ_SEED: `${seed}` };
      const log = new ProcessLog(join(folder, `${name}.log`));
      return new SubjectProcess(name, env, log, onProblem);
    };
    this.worker = await begin("worker");
    await Promise.race([this.worker.isReady, this.isBroken]);
    this.client = await begin("client");
    await Promise.race([this.client.isReady, this.isBroken]);
    this.connection = await connect({
      inboxPrefix: "_INBOX_HEALTH",
      owner: "health",
      nats: { servers: server.url },
    });
    this.sender = new Sender(server.port);
    this.health = new Health(this.connection, onProblem);
    // Until there is something to meddle with.
    await this.or(delay(500));
  }

  /** Waits, unless something has gone wrong. */
  async or(what: Promise<unknown>): Promise<void> {
    await Promise.race([what, this.isBroken]);
  }

  /** Waits until worker and client have taken what was sent before. */
  async flush(): Promise<void> {
    const timer = setTimeout(
      () => this.fail(`what was sent is not taken after ${flushLimitMs} ms`),
      flushLimitMs,
    );
    await this.or(
      Promise.all([this.sender.ask(`${prefix}.rpc.Echo`), this.sender.ask("fuzz.client.ping")]),
    );
    clearTimeout(timer);
  }

  /** Requests that are queued and not ended, of methods that there are. */
  async queued(): Promise<number> {
    const consumers = await this.consumers();
    return consumers.reduce((sum, each) => sum + each.num_pending + each.num_ack_pending, 0);
  }

  /** Fails because requests stay queued. */
  async failQueued(how: string): Promise<void> {
    const lines = (await this.consumers()).map(
      ({ stream_name, name, num_pending, num_ack_pending, num_redelivered, num_waiting }) =>
        `  ${stream_name} ${name}: ${num_pending} queued, ${num_ack_pending} delivered, ${num_redelivered} of them again, ${num_waiting} pulls`,
    );
    this.fail(`requests are still queued ${how}:\n${lines.join("\n")}`);
  }

  private async consumers(): Promise<readonly ConsumerInfo[]> {
    const lists = await Promise.all(
      [stream, `${stream}_LATER`].map((name) =>
        this.ask<{ consumers?: ConsumerInfo[] }>(`CONSUMER.LIST.${name}`),
      ),
    );
    return lists.flatMap(({ consumers = [] }) => consumers);
  }

  /** Asks JetStream's API. */
  async ask<T>(api: string): Promise<T> {
    const reply = await this.connection.nats.request(`$JS.API.${api}`, "{}", { timeout: 20_000 });
    const answer = reply.json<T & { error?: { description: string } }>();
    if (answer.error) {
      throw new Error(`${api}: ${answer.error.description}`);
    }
    return answer;
  }

  async stop(): Promise<void> {
    this.health?.stop();
    this.sender?.close();
    await Promise.all([this.worker?.stop(), this.client?.stop()]);
    for (const tap of this.taps) {
      tap.close();
    }
    await this.connection?.close();
    await this.server.stop();
  }
}

interface ConsumerInfo {
  readonly stream_name: string;
  readonly name: string;
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_redelivered: number;
  readonly num_waiting: number;
}
