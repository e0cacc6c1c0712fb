import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { findDrift } from "@jetrpc/runtime/operator";
import { bindService, codeName } from "@jetrpc/runtime/schema";
import { collectCalls, tellServing } from "./calls.js";
import { JetStreamQueries } from "./jetstream-queries.js";
import { Monitor } from "./monitor.js";
import { QueueAges } from "./queue-ages.js";
import { Samples } from "./samples.js";
import { Totals } from "./totals.js";
import { collectWorkers, type MethodWorkers } from "./workers.js";

/** What an {@link Exporter} looks at. */
export interface ExporterOptions {
  readonly services: readonly DescService[];
  /** URLs of monitoring ports. */
  readonly monitors: readonly string[];
  /** For how long a collection is good enough for further scrapes, in ms. */
  readonly intervalMs: number;
  readonly connect: () => Promise<Connection>;
  /** Told when something fails that did not fail in this way before, and when it works again. */
  readonly log: (line: string) => void;
}

/** How long a server may take to answer at all, in ms. */
const patienceMs = 5_000;

/** How long a collection may take, in ms: Prometheus waits for 10 s by default. */
const collectionMs = 8_000;

/** Most collections at once: scrapes that wait for other times beyond that share the shortest under way. */
const maxCollections = 4;

const kinds = ["create", "change", "destructive", "impossible"] as const;

/** What is found within some time. */
interface Collection {
  readonly limitMs: number;
  /** By performance.now(). */
  readonly endsAt: number;
  readonly samples: Samples;
  /** False when a part has failed, maybe for want of time. */
  isWhole: boolean;
}

/** Collects metrics when it is scraped; scrapes at the same time that wait as long share one collection. */
export class Exporter {
  private readonly monitors: readonly Monitor[];
  private readonly memory = { ages: new QueueAges(), totals: new Totals() };
  private readonly errors = new Map<string, { part: string; code: string; count: number }>();
  /** The last failure of each part. */
  private readonly failing = new Map<string, string>();
  private latest: (Collection & { readonly endedAt: number }) | undefined;
  /** By the time that they have. */
  private readonly collecting = new Map<number, Promise<Samples>>();
  private connecting: Promise<Connection> | undefined;
  private connection: Connection | undefined;

  constructor(private readonly options: ExporterOptions) {
    this.monitors = options.monitors.map((url) => new Monitor(url));
  }

  /** True when nothing failed in the last collection. */
  get isWell(): boolean {
    return this.failing.size === 0;
  }

  /**
   * Never fails: a failure is a sample of its own, and so is what has not answered after
   * `limitMs`: the rest is told.
   */
  async scrape(limitMs = collectionMs): Promise<Samples> {
    const { latest, collecting } = this;
    if (
      latest &&
      performance.now() - latest.endedAt < this.options.intervalMs &&
      // What another scraper was in too great a hurry for may be found in the time of this one.
      (latest.isWhole || latest.limitMs >= limitMs)
    ) {
      return latest.samples;
    }
    const shared =
      collecting.get(limitMs) ??
      (collecting.size < maxCollections
        ? undefined
        : collecting.get(Math.min(...collecting.keys())));
    if (shared) {
      return await shared;
    }
    const own = this.collect(limitMs).finally(() => collecting.delete(limitMs));
    collecting.set(limitMs, own);
    return await own;
  }

  async close(): Promise<void> {
    await this.connection?.close();
  }

  private async collect(limitMs: number): Promise<Samples> {
    const samples = new Samples();
    const endsAt = performance.now() + limitMs;
    const collection: Collection = { limitMs, endsAt, samples, isWhole: true };
    await Promise.all([
      ...this.monitors.map((monitor) => this.collectMonitor(monitor, collection)),
      this.collectServices(collection),
    ]);
    for (const { part, code, count } of this.errors.values()) {
      samples.counter(
        "jetrpc_scrape_errors_total",
        "Parts of a collection that failed, by code",
        { part, code },
        count,
      );
    }
    this.latest = { ...collection, endedAt: performance.now() };
    return samples;
  }

  private async collectMonitor(monitor: Monitor, collection: Collection): Promise<void> {
    const { samples } = collection;
    const part = `monitor ${monitor.label}`;
    const isUp = await this.attempt(part, collection, (own) => monitor.collect(own));
    if (!isUp) {
      monitor.tellUnreachable(samples);
    }
    samples.gauge(
      "jetrpc_monitor_up",
      "1 when the monitoring port of the server answers",
      { monitor: monitor.label },
      Number(isUp),
    );
  }

  private async collectServices(collection: Collection): Promise<void> {
    const { endsAt, samples } = collection;
    let connection: Connection | undefined;
    const isUp = await this.attempt("connection", collection, async () => {
      connection = await this.open();
    });
    samples.gauge("jetrpc_up", "1 when the exporter is connected to NATS", {}, Number(isUp));
    if (connection) {
      const open = new JetStreamQueries(connection, endsAt);
      await Promise.all(
        this.options.services.map((service) => this.collectService(open, service, collection)),
      );
    }
  }

  private async collectService(
    jetStream: JetStreamQueries,
    service: DescService,
    collection: Collection,
  ): Promise<void> {
    const binding = bindService(service);
    const { typeName } = service;
    const { connection } = jetStream;
    const drift = this.attempt(`schema ${typeName}`, collection, async (own) => {
      const changes = await findDrift(connection, service);
      for (const kind of kinds) {
        own.gauge(
          "jetrpc_schema_drift",
          "Streams and consumers that are not as the schema says, by what `jetrpc apply` would do",
          { service: typeName, kind },
          changes.filter((change) => change.kind === kind).length,
        );
      }
    });
    let workers: ReadonlyMap<string, MethodWorkers> | undefined;
    await this.attempt(`workers ${typeName}`, collection, async (own) => {
      workers = await collectWorkers(connection, binding, own);
      for (const method of binding.methods.values()) {
        if (method.delivery === "direct") {
          tellServing(own, method, workers?.get(method.desc.name)?.serving ?? 0);
        }
      }
    });
    if ([...binding.methods.values()].some(({ delivery }) => delivery === "durable")) {
      await this.attempt(
        `calls ${typeName}`,
        collection,
        (own) => collectCalls(jetStream, binding, workers, this.memory, own),
        true,
      );
    }
    await drift;
  }

  /**
   * Collects a part until the time is over. Of one that fails nothing is taken, unless each of
   * its samples is right without the others.
   */
  private async attempt(
    part: string,
    collection: Collection,
    collect: (own: Samples) => Promise<void>,
    isDivisible = false,
  ): Promise<boolean> {
    const { endsAt, samples } = collection;
    const begin = performance.now();
    const own = new Samples();
    let failure: ConnectError | undefined;
    try {
      await inTime(collect(own), endsAt - begin, (ms) => late(`no answer after ${ms} ms`));
    } catch (error) {
      failure = ConnectError.from(error);
    }
    if (!failure || isDivisible) {
      samples.addAll(own);
    }
    samples.gauge(
      "jetrpc_scrape_duration_seconds",
      "How long it took to collect a part",
      { part },
      (performance.now() - begin) / 1000,
    );
    if (failure) {
      collection.isWhole = false;
    }
    this.tell(part, failure);
    return failure === undefined;
  }

  /** Counts a failure, and logs it when it is a new one. */
  private tell(part: string, failure: ConnectError | undefined): void {
    if (!failure) {
      if (this.failing.delete(part)) {
        this.options.log(`${part}: works again`);
      }
      return;
    }
    const code = codeName(failure.code);
    const counter = this.errors.get(`${part} ${code}`) ?? { part, code, count: 0 };
    counter.count++;
    this.errors.set(`${part} ${code}`, counter);
    if (this.failing.get(part) !== code) {
      this.failing.set(part, code);
      this.options.log(`${part}: ${failure.rawMessage}`);
    }
  }

  /** A connection that works now. Errors: those of connect(), Unavailable. */
  private async open(): Promise<Connection> {
    if (this.connection?.nats.isClosed()) {
      // A connection that the servers refuse later ends.
      this.connection = undefined;
    }
    this.connection ??= await inTime(this.connect(), patienceMs, (ms) =>
      unavailable(`no connection yet, after ${ms} ms`),
    );
    await inTime(this.connection.nats.flush(), patienceMs, (ms) =>
      unavailable(`the server does not answer, after ${ms} ms`),
    );
    return this.connection;
  }

  /** One that takes long goes on, for the next collection. */
  private connect(): Promise<Connection> {
    this.connecting ??= this.options.connect().finally(() => {
      this.connecting = undefined;
    });
    return this.connecting;
  }
}

async function inTime<T>(
  work: Promise<T>,
  ms: number,
  error: (ms: number) => ConnectError,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(error(Math.round(ms))), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const late = (text: string) => new ConnectError(text, Code.DeadlineExceeded);
const unavailable = (text: string) => new ConnectError(text, Code.Unavailable);
