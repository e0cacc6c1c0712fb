import { Child } from "./child.js";
import type { RunFailure, RunReply, RunRequest, Usage } from "./process.js";
import { readCpu } from "./process-watch.js";
import type { Servers } from "./servers.js";
import { isStream, type Served, type Subject, streamMessages } from "./subject.js";
import { subjects } from "./subjects/index.js";

/** The measurements of one round. */
export interface Round {
  readonly calls: number;
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of all calls together, in us. */
  readonly clientCpuUs: number;
  readonly workerCpuUs: number;
  /** Undefined where there is no /proc. */
  readonly serverCpuUs: number | undefined;
  readonly clientRss: number;
  readonly workerRss: number;
}

/** Calls failed: this subject cannot bear the load. */
export class RoundFailed extends Error {}

/** The two processes of a subject. */
export class SubjectProcesses {
  private constructor(
    readonly subject: Subject,
    private readonly worker: Child,
    private readonly client: Child,
    private readonly serverPids: readonly number[],
  ) {}

  static async start(subject: Subject, servers: Servers): Promise<SubjectProcesses> {
    const { urls, pids } = await servers.of(subject);
    const args = [`${subjects.indexOf(subject)}`, urls.join()];
    const started: Child[] = [];
    const spawn = (...more: string[]) => {
      const child = new Child(subject.name, "process.js", more);
      started.push(child);
      return child;
    };
    try {
      const worker = spawn("serve", ...args);
      const served = (await worker.next()) as Served;
      const { address, serverPids = pids, furtherPids = [] } = served;
      const client = spawn("connect", ...args, address);
      await client.next();
      return new SubjectProcesses(subject, worker, client, [...serverPids, ...furtherPids]);
    } catch (error) {
      await Promise.all(started.map((child) => child.stop()));
      throw error;
    }
  }

  /**
   * Calls for so long or so often. In the kind `stream` a message counts as a call.
   * Throws {@link RoundFailed} when a call fails.
   */
  async run(request: RunRequest): Promise<Round> {
    const before = await this.usage();
    const reply = (await this.client.ask(request)) as RunReply | RunFailure;
    if ("error" in reply) {
      throw new RoundFailed(`${this.subject.name}: ${reply.error}`);
    }
    const after = await this.usage();
    const calls = reply.calls * (isStream(this.subject.kind) ? streamMessages : 1);
    return {
      calls,
      callsPerSecond: calls / reply.seconds,
      p50Ms: reply.p50Ms,
      p99Ms: reply.p99Ms,
      clientCpuUs: after.client.cpuUs - before.client.cpuUs,
      workerCpuUs: after.worker.cpuUs - before.worker.cpuUs,
      serverCpuUs:
        after.serverCpuUs === undefined || before.serverCpuUs === undefined
          ? undefined
          : after.serverCpuUs - before.serverCpuUs,
      clientRss: after.client.rss,
      workerRss: after.worker.rss,
    };
  }

  private async usage() {
    const [client, worker] = (await Promise.all(
      [this.client, this.worker].map((child) => child.ask("usage")),
    )) as [Usage, Usage];
    return { client, worker, serverCpuUs: serverCpu(this.serverPids) };
  }

  async stop(): Promise<void> {
    await Promise.all([this.worker.stop(), this.client.stop()]);
  }
}

function serverCpu(pids: readonly number[]): number | undefined {
  if (process.platform !== "linux") {
    return undefined;
  }
  return pids.reduce((sum, pid) => sum + readCpu(pid), 0);
}
