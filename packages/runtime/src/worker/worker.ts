import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { nuid } from "@nats-io/nats-core";
import { type Connection, internalsOf } from "../connection.js";
import type { Link } from "../link/link.js";
import { provision } from "../link/provision.js";
import { startTimer } from "../link/timer.js";
import { within } from "../link/within.js";
import { causedError } from "../message/caused-error.js";
import { messageLimits } from "../message/codec.js";
import { bindService } from "../schema/bind-service.js";
import type { ServiceBinding } from "../schema/binding.js";
import { DirectResponder } from "./direct-responder.js";
import { createDueMover } from "./due-mover.js";
import { DurableWorker } from "./durable-worker.js";
import { findHandlers } from "./find-handlers.js";
import type { WorkerImpl } from "./handler.js";
import { interceptHandler } from "./handler-interceptors.js";
import { Housekeeper } from "./housekeeper.js";
import { LiveBytes } from "./live-bytes.js";
import { guardLogger } from "./logger.js";
import { MethodStats } from "./method-stats.js";
import { checkVersion, MicroService } from "./micro-service.js";
import type { Puller } from "./puller.js";
import { Responses } from "./responses.js";
import type { ServedMethod, WorkerSettings } from "./served-method.js";
import { Slots } from "./slots.js";
import { checkOptions, type WorkerOptions } from "./worker-options.js";

/** How long a worker may take to stop when its calls have been stopped, in ms. */
const stopMs = 5_000;

/** How long the server may take to know of its subscriptions, in ms. */
const startMs = 10_000;

/** A running worker. */
export interface Worker {
  /** How many calls it runs now. */
  readonly running: number;
  /**
   * Takes nothing new, and resolves when what runs has ended. Calls that run
   * longer than `drainTimeoutMs` are stopped; durable ones go to another worker. 5 s
   * later it resolves in any case: a server that says nothing takes nothing back, and
   * gives the calls to others by itself.
   */
  drain(): Promise<void>;
  /** The same as `drain()`: for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
  /**
   * Resolves when the worker is drained or its connection is closed. Rejects when
   * the connection has ended by itself, see {@link Connection.closed}: a process
   * that does not catch it ends with that error.
   */
  readonly closed: Promise<void>;
}

/**
 * Serves the methods that `impl` implements. Streams and consumers are made
 * where they are absent. Resolves when the worker takes calls.
 *
 * Throws InvalidArgument when nothing is implemented, or a method that the service lacks,
 * or an option is wrong,
 * FailedPrecondition when a stream is not as the schema says or the account has
 * no JetStream, PermissionDenied when one is absent that these credentials may
 * not make, and Unavailable when JetStream does not answer.
 */
export async function startWorker<S extends DescService>(
  service: S,
  impl: Partial<WorkerImpl<S>>,
  connection: Connection,
  options: WorkerOptions = {},
): Promise<Worker> {
  checkOptions(options);
  const { link } = internalsOf(connection);
  const worker = new ServiceWorker(link, bindService(service), options);
  try {
    await worker.start(service, impl);
  } catch (error) {
    // Nobody sees the promise of a worker that there is not.
    worker.closed.catch(() => undefined);
    throw error;
  }
  return worker;
}

class ServiceWorker implements Worker {
  readonly closed: Promise<void>;
  private readonly responders: DirectResponder[] = [];
  private readonly durables: DurableWorker[] = [];
  /** Of a service with durable methods: what queues the calls that are due, and what was forgotten. */
  private readonly helpers: (Puller | Housekeeper)[] = [];
  private readonly settings: WorkerSettings;
  private readonly served: ServedMethod[] = [];
  private microService: MicroService | undefined;
  private denied: ConnectError | undefined;
  private resolveClosed: () => void = () => undefined;
  private rejectClosed: (reason: ConnectError) => void = () => undefined;
  private draining: Promise<void> | undefined;

  constructor(
    private readonly link: Link,
    service: ServiceBinding,
    private readonly options: WorkerOptions,
  ) {
    const session = nuid.next();
    this.settings = {
      log: guardLogger(options.logger),
      limits: messageLimits(options),
      liveBytes: new LiveBytes(),
      revealErrors: options.revealErrors ?? false,
      version: checkVersion(options.version ?? "0.0.0"),
      slots: new Slots(options.directConcurrency ?? 0),
      onDenied: (subject, cause) => {
        this.denied ??= causedError(
          `these credentials may not use ${subject}: ask for the permission`,
          Code.PermissionDenied,
          cause,
        );
      },
      session,
      responses: new Responses(link, service, session),
    };
    this.closed = new Promise((resolve, reject) => {
      this.resolveClosed = resolve;
      this.rejectClosed = reject;
    });
    const stopListening = link.onFault((error) =>
      this.settings.log({
        level: "error",
        message: "something that came in could not be handled",
        error,
      }),
    );
    const { log } = this.settings;
    // A warning, too: who hears of the loss has to hear that it is over.
    const stops = [
      stopListening,
      link.onDisconnect(() => {
        if (!link.nats.isClosed()) {
          log({ level: "warn", message: "the connection to NATS is lost, and is being made anew" });
        }
      }),
      link.onReconnect(() => {
        if (link.connected) {
          log({ level: "warn", message: "the connection to NATS is there again" });
        }
      }),
    ];
    const stopAll = () => {
      for (const stop of stops) {
        stop();
      }
    };
    void this.closed.catch(() => undefined).then(stopAll);
    void link.closed.then((error) => {
      for (const durable of this.durables) {
        void durable.stop();
        durable.close();
        durable.abort();
      }
      // Nobody can be answered any more: handlers are told, also those that never end.
      const closed = new ConnectError("the worker's connection is closed", Code.Unavailable);
      for (const responder of this.responders) {
        responder.abort(closed);
      }
      for (const helper of this.helpers) {
        void helper.stop();
      }
      if (error) {
        this.settings.log({ level: "error", message: "the connection has ended", error });
        this.rejectClosed(error);
      }
      this.resolveClosed();
    });
  }

  async start(service: DescService, impl: object): Promise<void> {
    this.watchPulls(bindService(service));
    const { interceptors = [], answerUnimplemented = false } = this.options;
    const handlers = findHandlers(service, impl, answerUnimplemented);
    const durable = [...handlers.keys()].filter((method) => method.delivery === "durable");
    if (durable.length > 0) {
      const binding = bindService(service);
      await provision(this.link, binding, durable);
      const { log } = this.settings;
      this.helpers.push(
        ...durable.map((method) => createDueMover(this.link, method, log)),
        new Housekeeper(this.link, binding, durable, log),
      );
      for (const helper of this.helpers) {
        helper.start();
      }
    }
    for (const [method, bare] of handlers) {
      const served: ServedMethod = {
        method,
        handler: interceptHandler(method.desc, bare, interceptors),
        settings: this.settings,
        stats: new MethodStats(),
      };
      this.served.push(served);
      if (method.delivery === "durable") {
        this.serveDurable(served);
      } else {
        this.serveDirect(served);
      }
    }
    this.microService = new MicroService(this.link, bindService(service), this.served);
    this.microService.start();
    // The server knows of every subscription when it answers, and has refused what it
    // refuses; the NATS client tells of that a turn later.
    if (!(await within(startMs, this.link.nats.flush()))) {
      void this.drain();
      throw new ConnectError(`the server has not answered for ${startMs} ms`, Code.Unavailable);
    }
    await new Promise((resolve) => setTimeout(resolve));
    const denied = this.denied ?? this.link.mux.deafness;
    if (denied) {
      void this.drain();
      throw denied;
    }
  }

  get running(): number {
    return this.served.reduce((sum, { stats }) => sum + stats.running, 0);
  }

  drain(): Promise<void> {
    this.draining ??= this.stop();
    return this.draining;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  /** A pull that may not be made is not answered: it would be waited for in silence. */
  private watchPulls({ stream, laterStream }: ServiceBinding): void {
    // Whatever the domain: a server may name another subject than the one it was sent.
    const pulls = [stream, laterStream].map((each) => `API.CONSUMER.MSG.NEXT.${each}.`);
    const stopListening = this.link.onPublishDenied((subject, error) => {
      if (pulls.some((pull) => subject.includes(pull))) {
        this.settings.onDenied(subject, error);
        this.settings.log({ level: "error", message: "a pull is not permitted", error });
      }
    });
    void this.closed.catch(() => undefined).then(stopListening);
  }

  /** Tells an observer how many calls of a method run, until the worker is closed. */
  private observe({ method, stats }: ServedMethod, limit: number): void {
    const slots = {
      limit,
      get used() {
        return stats.running;
      },
    };
    const stop = this.link.observer?.serving?.(method, slots);
    void this.closed.catch(() => undefined).then(stop);
  }

  private serveDirect(served: ServedMethod): void {
    served.stats.slots = this.settings.slots.limit;
    this.observe(served, served.method.concurrency || this.settings.slots.limit);
    const responder = new DirectResponder(this.link, served);
    this.responders.push(responder);
    responder.start();
  }

  private serveDurable(served: ServedMethod): void {
    const concurrency = served.method.concurrency || this.options.concurrency || 10;
    served.stats.slots = concurrency;
    this.observe(served, concurrency);
    const durable = new DurableWorker(this.link, served, concurrency);
    this.durables.push(durable);
    durable.start();
  }

  private async stop(): Promise<void> {
    const { responders, durables, helpers, link } = this;
    const { drainTimeoutMs = 30_000 } = this.options;
    const all = [...responders, ...durables, ...helpers];
    this.microService?.drain();
    let isLate = false;
    const stopTimer = startTimer(() => {
      isLate = true;
      this.release();
    }, drainTimeoutMs);
    const ended = (async () => {
      await Promise.all(all.map((each) => each.stop()));
      if (isLate) {
        // That which came until then.
        this.release();
      }
      await Promise.all(all.map((each) => each.idle()));
      await this.settings.responses.idle();
      this.microService?.stop();
      if (link.connected) {
        // The last acknowledgements are on their way.
        link.flushLate();
        await link.nats.flush();
      }
    })();
    const isDone = await within(drainTimeoutMs + stopMs, ended);
    stopTimer();
    if (!isDone) {
      this.settings.log({ level: "warn", message: "the server did not take all that was left" });
      this.microService?.stop();
      for (const durable of durables) {
        durable.close();
      }
    }
    this.resolveClosed();
  }

  private release(): void {
    for (const responder of this.responders) {
      responder.abort(new ConnectError("the worker stops", Code.Unavailable));
    }
    this.settings.responses.release();
    for (const durable of this.durables) {
      durable.abort();
    }
  }
}
