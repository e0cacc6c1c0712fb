import { type Connection, createClient } from "@jetrpc/runtime";
import { FuzzService } from "../gen/fuzz/v1/fuzz_pb.js";
import type { FuzzClient } from "./service.js";

/** Within which a probe has to be answered, in ms. */
const limitMs = 1_000;

/**
 * The rule: a probe that is answered later than a second, not counting the time for
 * which this process itself stood still, is missed. The machine may be busy, so some
 * may be missed: one in twenty, and five in any case. But none by this far, in ms.
 */
const farMs = 10_000;
const allowedShare = 0.05;
const allowed = 5;

const everyMs = 250;
const tickMs = 50;

/** Asks the worker, by a call and by NATS micro, whether it answers. */
export class Health {
  probes = 0;
  missed = 0;
  slowestMs = 0;
  private stoodMs = 0;
  private lastTick = performance.now();
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly client: FuzzClient;
  private isAsking = false;

  constructor(
    private readonly connection: Connection,
    private readonly onProblem: (what: string) => void,
  ) {
    this.client = createClient<FuzzClient>(FuzzService, connection);
    this.timers.push(
      setInterval(() => {
        const now = performance.now();
        this.stoodMs += Math.max(0, now - this.lastTick - 2 * tickMs);
        this.lastTick = now;
      }, tickMs),
      setInterval(() => void this.probe(), everyMs),
    );
  }

  /** Why the worker was not well, looking at all probes. */
  get verdict(): string | undefined {
    return this.missed > Math.max(allowed, this.probes * allowedShare)
      ? `${this.missed} of ${this.probes} probes were answered later than ${limitMs} ms`
      : undefined;
  }

  stop(): void {
    this.timers.forEach(clearInterval);
  }

  private async probe(): Promise<void> {
    if (this.isAsking) {
      return;
    }
    this.isAsking = true;
    const { nats } = this.connection;
    await Promise.all([
      this.timed("a direct call", () => this.client.echo({ number: 1 }, { timeoutMs: farMs })),
      this.timed("$SRV.PING", () =>
        nats.request("$SRV.PING.fuzz_v1_FuzzService", undefined, { timeout: farMs }),
      ),
    ]);
    this.isAsking = false;
  }

  private async timed(what: string, ask: () => Promise<unknown>): Promise<void> {
    const before = performance.now();
    const stoodBefore = this.stoodMs;
    let failure: unknown;
    await ask().catch((error) => {
      failure = error;
    });
    const ms = performance.now() - before - (this.stoodMs - stoodBefore);
    this.probes++;
    this.slowestMs = Math.max(this.slowestMs, ms);
    if (failure !== undefined && this.timers.length > 0) {
      this.onProblem(`${what} was not answered: ${failure}`);
    } else if (ms > limitMs) {
      this.missed++;
    }
  }
}
