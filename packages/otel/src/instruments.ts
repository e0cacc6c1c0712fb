import type { ObservedSlots } from "@jetrpc/runtime";
import type {
  Counter,
  Histogram,
  Meter,
  MeterProvider,
  ObservableResult,
} from "@opentelemetry/api";
import { Attr, buckets, longBuckets, Metric, Own } from "./conventions.js";
import { scope } from "./scope.js";

/** The slots of one method in one worker. */
export interface ServedSlots {
  readonly rpcMethod: string;
  readonly slots: ObservedSlots;
}

/** The metrics of all connections that report to one meter. */
export class Instruments {
  readonly rpcClient: Histogram;
  readonly rpcServer: Histogram;
  readonly operation: Histogram;
  readonly process: Histogram;
  readonly call: Histogram;
  readonly queue: Histogram;
  readonly ended: Counter;
  readonly reconnects: Counter;
  /** What workers of this process serve. */
  readonly served = new Set<ServedSlots>();
  /** By the method. */
  private readonly slots = new Map<string, { used: number; free: number | undefined }>();

  private constructor(meter: Meter) {
    const duration = (name: string, description: string, explicitBucketBoundaries: number[]) =>
      meter.createHistogram(name, {
        description,
        unit: "s",
        advice: { explicitBucketBoundaries },
      });
    this.rpcClient = duration(
      Metric.rpcClientDuration,
      "Measures the duration of an outgoing Remote Procedure Call (RPC).",
      buckets,
    );
    this.rpcServer = duration(
      Metric.rpcServerDuration,
      "Measures the duration of an incoming Remote Procedure Call (RPC).",
      buckets,
    );
    this.operation = duration(
      Metric.operationDuration,
      "Duration of messaging operation initiated by a producer or consumer client.",
      buckets,
    );
    this.process = duration(
      Metric.processDuration,
      "Duration of processing operation.",
      longBuckets,
    );
    this.call = duration(
      Metric.callDuration,
      "Time from the acceptance of a durable call to its end.",
      longBuckets,
    );
    this.queue = duration(
      Metric.queueDuration,
      "Time from the acceptance of a durable call to its first attempt.",
      longBuckets,
    );
    this.ended = meter.createCounter(Metric.callsEnded, {
      description: "Durable calls that have ended, by the processes that ended them.",
      unit: "{call}",
    });
    this.reconnects = meter.createCounter(Metric.reconnects, {
      description: "How often a connection to NATS was made anew.",
      unit: "{reconnect}",
    });
    const slots = meter.createObservableUpDownCounter(Metric.workerSlots, {
      description: "Calls that workers of this process run, and further ones that they may run.",
      unit: "{slot}",
    });
    slots.addCallback((result) => this.reportSlots(result));
  }

  /** The metrics of a provider: instruments of one name are made once. */
  static of(provider: MeterProvider): Instruments {
    let own = made.get(provider);
    if (!own) {
      own = new Instruments(provider.getMeter(scope.name, scope.version));
      made.set(provider, own);
    }
    return own;
  }

  /** Workers of one process that serve the same method have one sum. */
  private reportSlots(result: ObservableResult): void {
    // Of a worker that has stopped it is 0: a number that is not told again would stay.
    for (const sum of this.slots.values()) {
      sum.used = 0;
      sum.free = sum.free && 0;
    }
    for (const { rpcMethod, slots } of this.served) {
      const { used, limit } = slots;
      const sum = this.slots.get(rpcMethod) ?? { used: 0, free: undefined };
      sum.used += used;
      // Without a limit there is no number of free ones.
      if (limit > 0) {
        sum.free = (sum.free ?? 0) + Math.max(0, limit - used);
      }
      this.slots.set(rpcMethod, sum);
    }
    for (const [rpcMethod, { used, free }] of this.slots) {
      const of = (state: string) => ({ [Attr.rpcMethod]: rpcMethod, [Own.state]: state });
      result.observe(used, of("used"));
      if (free !== undefined) {
        result.observe(free, of("free"));
      }
    }
  }
}

const made = new WeakMap<MeterProvider, Instruments>();
