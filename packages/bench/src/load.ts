import { setTimeout as delay } from "node:timers/promises";
import type { BacklogServer, BacklogState } from "./backlogs/backlog-way.js";
import { backlogWays } from "./backlogs/index.js";
import { Child } from "./child.js";

/** No call was queued or done for so long: something is wrong, in ms. */
const standstillMs = 60_000;

/** How often to look how far the calls are, in ms. */
const lookMs = 25;

/** The answer of a process whose calls fail. */
export interface LoadFailure {
  readonly error: string;
}

/** A server of one's own with processes that load it; all of it ends with this process. */
export class Load implements AsyncDisposable {
  private readonly children: Child[] = [];

  private constructor(
    private readonly name: string,
    readonly server: BacklogServer,
  ) {}

  /** `name` is a subject of {@link backlogWays}. */
  static async start(name = "jetrpc durable"): Promise<Load> {
    const way = await backlogWays.get(name)?.();
    if (!way) {
      throw new Error(`there is no backlog of "${name}"`);
    }
    return new Load(name, await way.startServer());
  }

  /** Starts a process of load-process.ts, or of another file. */
  async spawn(role: string, file = "load-process.js"): Promise<Child> {
    const child = new Child(`${this.name}, ${role}`, file, [role, this.server.url, this.name]);
    this.children.push(child);
    await child.next();
    return child;
  }

  /** Has a process submit calls, and waits until all are accepted. */
  async submit<T extends object>(submitter: Child, request: object): Promise<T> {
    let isOver = false;
    const reply = submitter.ask(request).finally(() => {
      isOver = true;
    });
    await Promise.race([reply, this.until(() => isOver)]);
    return unlessFailed((await reply) as T | LoadFailure);
  }

  /** Waits until nothing is queued any more. */
  drained(): Promise<void> {
    return this.until(({ queued }) => queued === 0);
  }

  /** Looks again and again. Throws when it is not done, and nothing has changed for long. */
  private async until(isDone: (state: BacklogState) => boolean): Promise<void> {
    let changedAt = performance.now();
    for (let before: BacklogState | undefined; ; await delay(lookMs)) {
      const state = await this.server.state();
      if (isDone(state)) {
        return;
      }
      if (state.queued !== before?.queued || state.done !== before.done) {
        before = state;
        changedAt = performance.now();
      } else if (performance.now() - changedAt > standstillMs) {
        throw new Error(`nothing was queued or done for ${standstillMs / 1000} s`);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.children.map((child) => child.stop()));
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
