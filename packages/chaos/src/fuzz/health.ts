import { type Connection, createClient } from "@jetrpc/runtime";
import { FuzzService } from "../gen/fuzz/v1/fuzz_pb.js";
import type { FuzzClient } from "./service.js";

/** Within which a probe has to be answered, in ms. */
const limitMs = 1_000;

/**
 * The rule: a probe is missed that is answered later than a second or not at all. The
 * time does not count for which this process itself stood still, nor what the server
 * took for a ping at the same time. The machine may be busy, so some may be missed: one
 * in ten, and five in any case. But it fails when none is answered for so long, in ms.
 */
const silenceMs = 20_000;
const allowedShare = 0.1;
const allowed = 5;

const everyMs = 250;
const tickMs = 50;

/** Asks the worker, by a call and by NATS micro, whether it answers. */
export class Health {
  probes = 0;
  missed = 0;
  slowestMs = 0;
  private answeredAt = performance.now();
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
    const server = this.timed(() => nats.flush());
    const worker = await Promise.all([
      this.timed(() => this.client.echo({ number: 1 }, { timeoutMs: silenceMs })),
      this.timed(() =>
        nats.request("$SRV.PING.fuzz_v1_FuzzService", undefined, { timeout: silenceMs }),
      ),
    ]);
    const { ms: serverMs } = await server;
    for (const { ms, failure } of worker) {
      const ownMs = Math.max(0, ms - serverMs);
      this.probes++;
      this.slowestMs = Math.max(this.slowestMs, ownMs);
      if (failure !== undefined || ownMs > limitMs) {
        this.missed++;
      }
      if (failure === undefined) {
        this.answeredAt = performance.now();
      } else if (performance.now() - this.answeredAt > silenceMs) {
        this.onProblem(`the worker has answered nothing for ${silenceMs} ms: ${failure}`);
      }
    }
    this.isAsking = false;
  }

  /** How long it took, without the time for which this process stood still. */
  private async timed(ask: () => Promise<unknown>): Promise<{ ms: number; failure: unknown }> {
    const before = performance.now();
    const stoodBefore = this.stoodMs;
    let failure: unknown;
    await ask().catch((error) => {
      failure = error;
    });
    return { ms: performance.now() - before - (this.stoodMs - stoodBefore), failure };
  }
}
