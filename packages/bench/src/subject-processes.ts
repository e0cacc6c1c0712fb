import { Child } from "./child.js";
import type { RunFailure, RunReply, RunRequest, Usage } from "./process.js";
import { type Subject, streamMessages } from "./subject.js";
import { subjects } from "./subjects/index.js";

/** The measurements of one round. */
export interface Round {
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly clientCpuUs: number;
  readonly workerCpuUs: number;
  readonly clientRss: number;
  readonly workerRss: number;
}

/** Calls failed: this subject cannot bear the load. */
export class RoundFailed extends Error {}

/** The two processes of a subject. */
export class SubjectProcesses {
  private constructor(
    readonly subject: Subject,
    private readonly server: Child,
    private readonly client: Child,
  ) {}

  static async start(subject: Subject, natsUrl: string): Promise<SubjectProcesses> {
    const index = `${subjects.indexOf(subject)}`;
    const server = new Child(subject.name, "process.js", ["serve", index, natsUrl]);
    const address = (await server.next()) as string;
    const client = new Child(subject.name, "process.js", ["connect", index, natsUrl, address]);
    await client.next();
    return new SubjectProcesses(subject, server, client);
  }

  /**
   * Calls for so many ms. In the suite `stream` a message counts as a call.
   * Throws {@link RoundFailed} when a call fails.
   */
  async run(request: RunRequest): Promise<Round> {
    const workerBefore = (await this.server.ask("usage")) as Usage;
    // The client's own time for an empty run is what it used before.
    const clientBefore = (await this.client.ask({ ...request, ms: 0 })) as RunReply;
    const reply = (await this.client.ask(request)) as RunReply | RunFailure;
    if ("error" in reply) {
      throw new RoundFailed(`${this.subject.name}: ${reply.error}`);
    }
    const worker = (await this.server.ask("usage")) as Usage;
    const calls = reply.calls * (this.subject.suite === "stream" ? streamMessages : 1);
    return {
      callsPerSecond: calls / reply.seconds,
      p50Ms: reply.p50Ms,
      p99Ms: reply.p99Ms,
      clientCpuUs: (reply.usage.cpuUs - clientBefore.usage.cpuUs) / calls,
      workerCpuUs: (worker.cpuUs - workerBefore.cpuUs) / calls,
      clientRss: reply.usage.rss,
      workerRss: worker.rss,
    };
  }

  async stop(): Promise<void> {
    await Promise.all([this.server.stop(), this.client.stop()]);
  }
}
