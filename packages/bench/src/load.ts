import { setTimeout as delay } from "node:timers/promises";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { Child } from "./child.js";
import { BenchService } from "./gen/bench/v1/bench_pb.js";
import type { LoadFailure, SubmitReply, SubmitRequest } from "./load-process.js";

const stream = BenchService.typeName.replaceAll(".", "_");

/** No call was queued or done for so long: something is wrong, in ms. */
const standstillMs = 60_000;

/** How often to look how far the calls are, in ms. */
const lookMs = 100;

/** Messages in the streams of the service. */
interface LoadState {
  readonly queued: number;
  readonly logged: number;
  /** Of both, on disk. */
  readonly bytes: number;
}

/** A server of one's own with processes that load it; all of it ends with this process. */
export class Load implements AsyncDisposable {
  private readonly children: Child[] = [];

  private constructor(
    readonly server: NatsServer,
    private readonly nats: NatsConnection,
    private readonly manager: JetStreamManager,
  ) {}

  static async start(): Promise<Load> {
    const server = await startNats();
    try {
      const nats = await connect({ servers: server.url });
      return new Load(server, nats, await jetstreamManager(nats));
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  /** Starts a process of load-process.ts. */
  async spawn(role: "submit" | "work" | "attach"): Promise<Child> {
    const child = new Child(role, "load-process.js", [role, this.server.url]);
    this.children.push(child);
    await child.next();
    return child;
  }

  /** Has a process submit calls, and waits until all are accepted. */
  async submit(submitter: Child, request: SubmitRequest): Promise<SubmitReply> {
    let isOver = false;
    const reply = submitter.ask(request).finally(() => {
      isOver = true;
    });
    await Promise.race([reply, this.until(() => isOver)]);
    return unlessFailed((await reply) as SubmitReply | LoadFailure);
  }

  /** Waits until nothing is queued any more. */
  drained(): Promise<void> {
    return this.until(({ queued }) => queued === 0);
  }

  async state(): Promise<LoadState> {
    const of = async (name: string) => {
      try {
        return (await this.manager.streams.info(name)).state;
      } catch {
        // Not yet made, or a server that is busy.
        return { messages: 0, bytes: 0 };
      }
    };
    const [queue, log] = await Promise.all([of(stream), of(`${stream}_LOG`)]);
    return { queued: queue.messages, logged: log.messages, bytes: queue.bytes + log.bytes };
  }

  /** Looks again and again. Throws when it is not done, and nothing has changed for long. */
  private async until(isDone: (state: LoadState) => boolean): Promise<void> {
    let changedAt = performance.now();
    for (let before: LoadState | undefined; ; await delay(lookMs)) {
      const state = await this.state();
      if (isDone(state)) {
        return;
      }
      if (state.queued !== before?.queued || state.logged !== before.logged) {
        before = state;
        changedAt = performance.now();
      } else if (performance.now() - changedAt > standstillMs) {
        throw new Error(`nothing was queued or done for ${standstillMs / 1000} s`);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.children.map((child) => child.stop()));
    await this.nats.close();
    await this.server.stop();
  }
}

/** Throws what a process failed with. */
export function unlessFailed<T extends object>(reply: T | LoadFailure): T {
  if ("error" in reply) {
    throw new Error(reply.error);
  }
  return reply;
}
