import { Code, ConnectError } from "@connectrpc/connect";

/** How much one identity may do. */
export interface CallLimits {
  /** Most requests at once. */
  readonly maxConcurrentCalls: number;
  /** Most requests in a second, on average; as many may come at once. */
  readonly maxCallsPerSecond: number;
}

interface Usage {
  running: number;
  /** Requests that may come now. */
  tokens: number;
  /** When they were counted, in ms. */
  at: number;
}

/** Not before so many are identities forgotten that are as good as new. */
const manyIdentities = 10_000;

/** Counts the requests of each identity: those that run, and those of a second by a token bucket. */
export class CallLimiter {
  private readonly usages = new Map<string, Usage>();
  /** From so many on, those that are as good as new are looked for: twice as many as were kept. */
  private many = manyIdentities;

  constructor(
    private readonly limits: CallLimits,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Counts a request until the returned function is called. Throws ResourceExhausted. */
  begin(name: string): () => void {
    const { maxConcurrentCalls, maxCallsPerSecond } = this.limits;
    const usage = this.usageOf(name);
    if (usage.running >= maxConcurrentCalls) {
      throw new ConnectError(
        `${maxConcurrentCalls} requests run at once: that is the most; try again when one has ended`,
        Code.ResourceExhausted,
      );
    }
    if (usage.tokens < 1) {
      throw new ConnectError(
        `more than ${maxCallsPerSecond} requests a second: try again in a second`,
        Code.ResourceExhausted,
        { "retry-after": "1" },
      );
    }
    usage.tokens -= 1;
    usage.running += 1;
    let hasEnded = false;
    return () => {
      if (!hasEnded) {
        hasEnded = true;
        usage.running -= 1;
      }
    };
  }

  private usageOf(name: string): Usage {
    const at = this.now();
    const usage = this.usages.get(name);
    if (usage) {
      this.refill(usage, at);
      return usage;
    }
    if (this.usages.size >= this.many) {
      this.forgetIdle(at);
      this.many = Math.max(manyIdentities, 2 * this.usages.size);
    }
    const fresh = { running: 0, tokens: this.most, at };
    this.usages.set(name, fresh);
    return fresh;
  }

  private get most(): number {
    return Math.max(1, this.limits.maxCallsPerSecond);
  }

  private refill(usage: Usage, at: number): void {
    const gained = ((at - usage.at) / 1000) * this.limits.maxCallsPerSecond;
    usage.tokens = Math.min(this.most, usage.tokens + gained);
    usage.at = at;
  }

  private forgetIdle(at: number): void {
    for (const [name, usage] of this.usages) {
      this.refill(usage, at);
      if (usage.running === 0 && usage.tokens === this.most) {
        this.usages.delete(name);
      }
    }
  }
}
