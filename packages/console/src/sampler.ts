import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { CallCounts, QueueInfo } from "@jetrpc/runtime/operator";
import { findDrift } from "@jetrpc/runtime/operator";
import { bindService, type MethodBinding } from "@jetrpc/runtime/schema";
import type { RunningWorker, ServerView } from "./console-options.js";
import { delay } from "./delay.js";
import {
  Delivery,
  type MethodFiguresSchema,
  type SeriesSchema,
} from "./gen/jetrpc/console/v1/console_service_pb.js";
import { type Column, columns, type Entry, Ring } from "./ring.js";
import type { Target } from "./target.js";
import { type Work, WorkDone } from "./work-done.js";

/** A pause without an end lasts for centuries. */
const forEverYear = 2200;

/** How long series go back, in ms. */
const hourMs = 3_600_000;

/** Entries of logs that one look counts: it looks often, and is to cost little. */
const maxEntries = 5_000;

/** How often drift is looked for, in ms. */
const driftMs = 60_000;

type Figures = MessageInitShape<typeof MethodFiguresSchema>;

/** A method, as it was seen. */
export interface SeenMethod {
  readonly binding: MethodBinding;
  readonly figures: Figures;
  /** What the last look measured. */
  readonly entry: Entry;
}

/** The whole, as it was seen last. */
export interface Seen {
  readonly at: Date;
  readonly methods: readonly SeenMethod[];
  readonly workers: readonly RunningWorker[];
  /** By service: how many of its streams and consumers are not as the schema says. */
  readonly drift: ReadonlyMap<string, number>;
}

/** Looks at the server again and again, and remembers the last hour. */
export class Sampler {
  readonly since = new Date();
  seen: Seen = { at: this.since, methods: [], workers: [], drift: new Map() };
  private readonly rings = new Map<string, Ring>();
  private readonly all: Ring;
  private readonly capacity: number;
  private readonly work = new WorkDone();
  private readonly waiting = new Set<() => void>();
  private readonly ended = new AbortController();
  /** Ends the wait for the next look. */
  private wake = new AbortController();
  /** By service: when its calls were counted last, in ms. */
  private readonly countedMs = new Map<string, number>();
  private drift: ReadonlyMap<string, number> = new Map();
  private driftAt = 0;
  private running: Promise<void> | undefined;

  constructor(
    private readonly target: Target,
    private readonly view: ServerView,
    private readonly intervalMs: number,
  ) {
    this.capacity = Math.max(2, Math.ceil(hourMs / intervalMs));
    this.all = new Ring(this.capacity);
    target.onChange(() => this.tell());
  }

  /** Looks once, and then goes on until it is stopped. */
  async start(): Promise<void> {
    await this.look();
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.ended.abort();
    this.wake.abort();
    this.tell();
    await this.running;
  }

  /** Resolves at the next look, when the connection is lost or there again, and at a signal. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        this.waiting.delete(end);
        signal.removeEventListener("abort", end);
        resolve();
      };
      this.waiting.add(end);
      signal.addEventListener("abort", end);
      if (signal.aborted || this.ended.signal.aborted) {
        end();
      }
    });
  }

  /** The last hour of a method, `service/Method`, or of all. */
  series(method?: string): MessageInitShape<typeof SeriesSchema> {
    const ring = method === undefined ? this.all : this.rings.get(method);
    return ring?.read() ?? {};
  }

  /** Looks out of turn: after an act, so that its effect is seen. */
  async lookNow(): Promise<void> {
    const next = this.next(this.ended.signal);
    this.wake.abort();
    await next;
  }

  private async run(): Promise<void> {
    const { signal } = this.ended;
    for (;;) {
      await delay(this.intervalMs, this.wake.signal);
      if (signal.aborted) {
        return;
      }
      this.wake = new AbortController();
      await this.look();
    }
  }

  private tell(): void {
    for (const end of [...this.waiting]) {
      end();
    }
  }

  /** Looks at all; nothing that fails ends it. */
  private async look(): Promise<void> {
    const { target } = this;
    try {
      await target.refreshSchema();
      if (target.isConnected) {
        await this.measure();
      }
    } catch {
      // The next look may do better; `seen` tells how old it is.
    }
    this.tell();
  }

  private async measure(): Promise<void> {
    const { target } = this;
    const nowMs = Date.now();
    const workers = await this.view
      .findWorkers(target.connection)
      .catch(emptyIfDenied<RunningWorker>);
    const done = this.work.since(workers, nowMs);
    const methods: SeenMethod[] = [];
    for (const service of target.services) {
      const all = [...bindService(service).methods.values()];
      const isDurable = all.some(({ delivery }) => delivery === "durable");
      const { operator } = target.operator(service.typeName);
      // From one count to the next, however long all else takes: each end is in one window.
      const countingMs = Date.now();
      const countedMs = this.countedMs.get(service.typeName);
      const windowMs = countedMs === undefined ? this.intervalMs : countingMs - countedMs;
      const [queues, counts] = isDurable
        ? await Promise.all([
            operator.queues().catch(emptyIfDenied<QueueInfo>),
            operator.countCalls({ windowMs, maxEntries }).catch(emptyIfDenied<CallCounts>),
          ])
        : [[], []];
      this.countedMs.set(service.typeName, countingMs);
      for (const binding of all) {
        const { name } = binding.desc;
        const its = ({ method }: { method: string }) => method === name;
        methods.push(
          seenOf(binding, {
            workers: workers.filter((each) => each.service === service.typeName),
            queue: queues.find(its),
            count: counts.find(its),
            work: done.get(`${service.typeName}/${name}`),
            nowMs,
            // At the first look nothing is known of the time before.
            windowMs: countedMs === undefined ? Number.NaN : windowMs,
          }),
        );
      }
    }
    await this.lookForDrift();
    this.remember(methods, nowMs);
    this.seen = { at: new Date(nowMs), methods, workers, drift: this.drift };
  }

  private remember(methods: readonly SeenMethod[], nowMs: number): void {
    const known = new Set(methods.map(({ binding }) => keyOf(binding)));
    for (const key of this.rings.keys()) {
      if (!known.has(key)) {
        this.rings.delete(key);
      }
    }
    for (const { binding, entry } of methods) {
      const key = keyOf(binding);
      const ring = this.rings.get(key) ?? new Ring(this.capacity);
      this.rings.set(key, ring);
      ring.push(entry);
    }
    this.all.push(
      sumOf(
        methods.map(({ entry }) => entry),
        nowMs,
      ),
    );
  }

  private async lookForDrift(): Promise<void> {
    const { target } = this;
    if (Date.now() - this.driftAt < driftMs) {
      return;
    }
    this.driftAt = Date.now();
    const counts = target.services.map(async (service) => {
      // The page of the infrastructure tells why it cannot be looked at.
      const changes = await findDrift(target.connection, service).catch(() => []);
      return [service.typeName, changes.length] as const;
    });
    this.drift = new Map(await Promise.all(counts));
  }
}

function keyOf({ desc }: MethodBinding): string {
  return `${desc.parent.typeName}/${desc.name}`;
}

/** An observer that may not read sees how much waits and runs. */
function emptyIfDenied<T>(error: unknown): T[] {
  if (ConnectError.from(error).code === Code.PermissionDenied) {
    return [];
  }
  throw error;
}

interface Measured {
  readonly workers: readonly RunningWorker[];
  readonly queue: QueueInfo | undefined;
  readonly count: CallCounts | undefined;
  readonly work: Work | undefined;
  readonly nowMs: number;
  readonly windowMs: number;
}

function seenOf(binding: MethodBinding, measured: Measured): SeenMethod {
  const { queue, count, work, nowMs, windowMs } = measured;
  const { desc, delivery } = binding;
  const handlers = measured.workers.flatMap(({ methods }) =>
    methods.filter(({ name }) => name === desc.name),
  );
  const sum = (of: (each: (typeof handlers)[number]) => number) =>
    handlers.reduce((total, each) => total + of(each), 0);
  const rate = (value: number | undefined, ms = windowMs) =>
    value === undefined || !(ms > 0) ? Number.NaN : (value * 1000) / ms;
  const recent = count?.recent;
  // Less of it was looked at where much happened.
  const recentMs = recent && (Number.isNaN(windowMs) ? windowMs : recent.windowMs);
  const entry: Entry = {
    at: nowMs / 1000,
    accepted: rate(recent?.accepted, recentMs),
    succeeded: rate(recent?.succeeded, recentMs),
    failed: rate(recent?.failed, recentMs),
    cancelled: rate(recent?.cancelled, recentMs),
    expired: rate(recent?.expired, recentMs),
    queued: count?.queued ?? queue?.queued ?? Number.NaN,
    running: queue?.running ?? Number.NaN,
    handled: rate(work?.handled),
    errors: rate(work?.errors),
    duration: work?.handled ? work.totalMs / work.handled / 1000 : Number.NaN,
  };
  const known = (value: number) => (Number.isNaN(value) ? undefined : value);
  const ended = entry.succeeded + entry.failed + entry.cancelled + entry.expired;
  const { pausedUntil } = queue ?? {};
  const figures: Figures = {
    service: desc.parent.typeName,
    method: desc.name,
    delivery: delivery === "durable" ? Delivery.DURABLE : Delivery.DIRECT,
    // One that pulls and does not answer counts.
    workers: Math.max(handlers.length, queue?.workers ?? 0),
    slotsTaken: sum(({ running }) => running),
    slots: handlers.every(({ slots }) => slots > 0) ? sum(({ slots }) => slots) : 0,
    paused: pausedUntil !== undefined,
    ...(pausedUntil &&
      pausedUntil.getFullYear() < forEverYear && { pausedUntil: timestampFromDate(pausedUntil) }),
    ...(queue && { queued: BigInt(count?.queued ?? queue.queued), running: BigInt(queue.running) }),
    ...(count && { scheduled: BigInt(count.scheduled), failed: BigInt(count.failed) }),
    ...(count?.oldestQueuedAt && { oldestQueuedAt: timestampFromMs(Number(count.oldestQueuedAt)) }),
    ...optional({
      acceptedRate: known(entry.accepted),
      endedRate: known(ended),
      failedRate: known(entry.failed + entry.expired),
      duration: known(entry.duration),
    }),
  };
  return { binding, figures, entry };
}

/** Without the fields that are undefined. */
function optional(fields: Record<string, number | undefined>): Partial<Record<string, number>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** All methods together; what only some tell is the sum of these. */
function sumOf(entries: readonly Entry[], nowMs: number): Entry {
  const sum = (column: Column) => {
    const known = entries.map((entry) => entry[column]).filter((value) => !Number.isNaN(value));
    return known.length === 0 ? Number.NaN : known.reduce((a, b) => a + b, 0);
  };
  const all = Object.fromEntries(columns.map((column) => [column, sum(column)])) as Record<
    Column,
    number
  >;
  const timed = entries.filter(({ duration }) => !Number.isNaN(duration));
  const handled = timed.reduce((total, each) => total + each.handled, 0);
  const seconds = timed.reduce((total, each) => total + each.handled * each.duration, 0);
  return { ...all, at: nowMs / 1000, duration: handled > 0 ? seconds / handled : Number.NaN };
}
