import { setTimeout as delay } from "node:timers/promises";
import type { DevOutput } from "./dev-output.js";
import type { ProcessEnd, ProcessGroup, ProcessGroups } from "./process-groups.js";
import { StartOutput } from "./start-output.js";

/** After so long at work a process counts as one that had started well, in ms. */
const wellMs = 60_000;

/** Waits before a process that has ended is started again, in ms: the first, and the longest. */
const firstWaitMs = 1_000;
const longestWaitMs = 30_000;

/** How long a process may take to end: workers take 30 s at most, unless they are told otherwise. */
const drainMs = 35_000;

/** After so long somebody wonders why nothing happens, in ms. */
const patienceMs = 2_000;

/** A command that is to run. */
export interface Command {
  readonly name: string;
  readonly command: string;
  /** A change of the code starts it anew. */
  readonly isWorker: boolean;
  /** What is typed is for it. */
  readonly hasStdin?: boolean;
}

/** Keeps a command running: starts it again when it ends, and when it is told to. */
export class Supervised {
  private group: ProcessGroup | undefined;
  /** Told to end already. */
  private drained: ProcessGroup | undefined;
  private isStarted = false;
  private isEnding = false;
  private isRestarting = false;
  private failures = 0;
  private wake = new AbortController();
  private ran: Promise<void> = Promise.resolve();

  constructor(
    readonly command: Command,
    private readonly groups: ProcessGroups,
    private readonly env: NodeJS.ProcessEnv,
    private readonly output: DevOutput,
  ) {}

  /** Starts it; does nothing when it runs. */
  start(): void {
    if (!this.isStarted && !this.isEnding) {
      this.isStarted = true;
      this.ran = this.run();
    }
  }

  /** Hands on that Enter was pressed; nothing happens while it does not run. */
  pressEnter(): void {
    this.group?.write("\n");
  }

  /** Lets it finish what it does, and starts it again. */
  restart(): void {
    this.failures = 0;
    this.isRestarting = true;
    this.wake.abort();
    this.drain();
  }

  /** Lets it finish what it does, and resolves when it has ended. */
  async end(): Promise<void> {
    this.isEnding = true;
    this.wake.abort();
    this.drain();
    await this.ran;
  }

  /** Ends it at once. */
  kill(): void {
    this.isEnding = true;
    this.wake.abort();
    this.group?.kill();
  }

  private async run(): Promise<void> {
    const { name, command, isWorker, hasStdin } = this.command;
    const said = new StartOutput(name, this.output);
    let waitMs = 0;
    let isShort = false;
    while (!this.isEnding) {
      this.isRestarting = false;
      this.wake = new AbortController();
      const startedAt = performance.now();
      const group = this.groups.start(command, this.env, hasStdin);
      this.group = group;
      said.begin(isShort && this.failures > 0);
      this.output.follow(name, group, said.take);
      const end = await group.ended;
      this.group = undefined;
      const isSame = said.end();
      if (this.isEnding || this.isRestarting) {
        continue;
      }
      if (end.code === 0 && !isWorker) {
        this.output.write(name, "has ended");
        return;
      }
      isShort = performance.now() - startedAt < wellMs;
      this.failures = isShort ? this.failures + 1 : 1;
      const waitedMs = waitMs;
      waitMs = Math.min(firstWaitMs * 2 ** (this.failures - 1), longestWaitMs);
      if (!isSame || waitMs !== waitedMs) {
        const how = isSame ? "ended as before" : `ended (${showEnd(end)})`;
        const when = waitMs < longestWaitMs ? "in" : "every";
        const mend = isWorker ? ", or when a file changes" : "";
        this.output.write(name, `${how}: starts again ${when} ${waitMs / 1000} s${mend}`, "error");
      }
      await delay(waitMs, undefined, { signal: this.wake.signal }).catch(() => undefined);
    }
  }

  private drain(): void {
    const group = this.group;
    if (!group || group === this.drained) {
      return;
    }
    this.drained = group;
    const { name } = this.command;
    const say = setTimeout(() => {
      this.output.write(name, `finishes what it does, for ${drainMs / 1000} s at most`);
    }, patienceMs);
    const kill = setTimeout(() => {
      this.output.write(name, `has not ended within ${drainMs / 1000} s: it is killed`, "warn");
      group.kill();
    }, drainMs);
    void group.ended.finally(() => {
      clearTimeout(say);
      clearTimeout(kill);
    });
    group.terminate();
  }
}

function showEnd({ code, signal }: ProcessEnd): string {
  if (signal) {
    return signal;
  }
  // The shell has said what it did not find.
  return code === 127 ? "exit code 127: no such command" : `exit code ${code}`;
}
