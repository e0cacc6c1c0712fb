import type {
  CallOutcome,
  Code,
  ConnectError,
  Connection,
  ObservedAttempt,
  ObservedMethod,
  ObservedSlots,
  ObservedSubmission,
  Observer,
  Watch,
} from "@jetrpc/runtime";
import {
  type Attributes,
  type Context,
  context,
  diag,
  type Histogram,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  type TextMapGetter,
  type TextMapPropagator,
  type TextMapSetter,
  trace,
} from "@opentelemetry/api";
import { emptyContext, withSpan } from "./context-of-span.js";
import { Attr, Own, rpcSystem } from "./conventions.js";
import type { Instruments } from "./instruments.js";
import { withCallId } from "./log-fields.js";
import { type SpanKindOf, type SpanParts, SpanWatch } from "./span-watch.js";
import { errorType, isFailure, isFault, statusCode } from "./status-code.js";
import { parseNote, toNote } from "./trace-note.js";

type Nats = Connection["nats"];
type Method = ObservedSubmission["method"];
type RequestHeaders = Pick<
  NonNullable<Parameters<NonNullable<Observer["handling"]>>[1]>,
  "get" | "keys"
>;

/** Parts and settings of a {@link ConnectionObserver}. */
export interface ObserverParts extends SpanParts {
  readonly instruments: Instruments;
  readonly propagator: Pick<TextMapPropagator, "inject" | "extract">;
  /** Attempts have traces of their own. */
  readonly isLinked: boolean;
}

/** All that the calls of a method have in common on this connection, made once. */
interface MethodParts {
  readonly rpcMethod: string;
  readonly client: SpanOptions;
  readonly server: SpanOptions;
  readonly called: SpanKindOf;
  readonly answered: SpanKindOf;
  /** By the queue: first tokens of a subject. */
  readonly submit: ReadonlyMap<string, Attributes>;
  readonly process: ReadonlyMap<string, Attributes>;
}

/**
 * Spans and metrics of one connection. What a sampler, a processor or a propagator throws is told
 * to OpenTelemetry's `diag`: no call fails by it.
 */
export class ConnectionObserver implements Observer {
  private server: Attributes;
  private methods = new WeakMap<Method, MethodParts>();

  constructor(
    private readonly nats: Nats,
    private readonly parts: ObserverParts,
  ) {
    this.server = serverOf(nats);
    void this.watchConnection();
  }

  calling(method: Method, headers?: Headers): Watch | undefined {
    try {
      const { rpcMethod, client, called } = this.partsOf(method);
      const parent = this.parentOf(headers);
      const span = this.parts.tracer.startSpan(rpcMethod, client, parent);
      const own = withSpan(parent, span);
      const metadata = this.inject(own);
      const continues = continued(headers, metadata);
      return new SpanWatch(span, own, this.parts, called, metadata, continues);
    } catch (error) {
      return faulty(error);
    }
  }

  submitting({ method, callId, headers, queue }: ObservedSubmission): Watch | undefined {
    return guarded(() => {
      const { rpcMethod, submit: byQueue } = this.partsOf(method);
      const submit = byQueue.get(queue) ?? {};
      const attributes = { ...submit, [Attr.messageId]: callId };
      const parent = this.parentOf(headers);
      const span = this.start(`submit ${queue}`, SpanKind.PRODUCER, attributes, parent);
      const own = withSpan(parent, span);
      const report: SpanKindOf["report"] = (seconds, _, error) => {
        const failure = errorType(error, isFailure);
        this.parts.instruments.operation.record(seconds, { ...submit, ...failure }, own);
        return failure;
      };
      const metadata = this.inject(own);
      const continues = continued(headers, metadata);
      const kind = { rpcMethod, report };
      return new SpanWatch(span, own, this.parts, kind, metadata, continues);
    });
  }

  handling(
    method: Method,
    headers: RequestHeaders | undefined,
    attempt?: ObservedAttempt,
  ): Watch | undefined {
    try {
      return attempt ? this.attempting(method, headers, attempt) : this.answering(method, headers);
    } catch (error) {
      return faulty(error);
    }
  }

  private answering(method: Method, headers: RequestHeaders | undefined): Watch {
    const { rpcMethod, server, answered } = this.partsOf(method);
    const parent = this.extract(headers);
    const span = this.parts.tracer.startSpan(rpcMethod, server, parent);
    const own = withSpan(parent, span);
    return new SpanWatch(span, own, this.parts, answered);
  }

  private attempting(
    method: Method,
    headers: RequestHeaders | undefined,
    { callId, number, subject, acceptedAtMs, note }: ObservedAttempt,
  ): Watch {
    const { instruments, isLinked } = this.parts;
    const of = this.partsOf(method);
    const { rpcMethod } = of;
    const queue = method.queues.find((each) => subject.startsWith(`${each.subject}.`));
    const name = queue?.subject ?? method.queueSubject;
    const process = of.process.get(name) ?? {};
    const attributes = { ...process, [Attr.messageId]: callId, [Own.attempt]: number };
    const submitted = this.extract(headers);
    const links = linksOf({
      submit: trace.getSpanContext(submitted),
      attempt: parseNote(note),
    });
    // Baggage goes along in both.
    const parent = isLinked ? trace.deleteSpan(submitted) : submitted;
    const span = this.start(`process ${name}`, SpanKind.CONSUMER, attributes, parent, links);
    const own = withSpan(withCallId(parent, callId), span);
    if (number === 1) {
      instruments.queue.record(secondsSince(acceptedAtMs), { [Attr.rpcMethod]: rpcMethod }, own);
    }
    const report: SpanKindOf["report"] = (seconds, _, error, outcome) => {
      const failure = outcome === "cancelled" ? {} : errorType(error, isFailure);
      instruments.process.record(seconds, { ...process, ...failure }, own);
      return { ...failure, ...(outcome && { [Own.attemptOutcome]: outcome }) };
    };
    const left = toNote(span.spanContext());
    const kind = { rpcMethod, report };
    return new SpanWatch(span, own, this.parts, kind, undefined, undefined, left);
  }

  ended(
    { service, desc }: ObservedMethod,
    outcome: CallOutcome,
    acceptedAtMs: number | undefined,
  ): void {
    guarded(() => {
      const { call, ended } = this.parts.instruments;
      const attributes = {
        [Attr.rpcMethod]: `${service.desc.typeName}/${desc.name}`,
        [Own.outcome]: outcome,
      };
      ended.add(1, attributes);
      if (acceptedAtMs !== undefined) {
        call.record(secondsSince(acceptedAtMs), attributes);
      }
    });
  }

  serving(method: Method, slots: ObservedSlots): () => void {
    const { served } = this.parts.instruments;
    const entry = { rpcMethod: this.partsOf(method).rpcMethod, slots };
    served.add(entry);
    return () => served.delete(entry);
  }

  private start(
    name: string,
    kind: SpanKind,
    attributes: Attributes,
    parent: Context,
    links: Link[] = [],
  ): Span {
    return this.parts.tracer.startSpan(name, { kind, attributes, links }, parent);
  }

  /** That of the caller's headers, as a gateway has it, unless what is active is of the same trace. */
  private parentOf(headers: Headers | undefined): Context {
    const active = context.active();
    if (!headers?.has(traceparent)) {
      return active;
    }
    const span = trace.getSpan(this.parts.propagator.extract(emptyContext, headers, givenGetter));
    return span && span.spanContext().traceId !== trace.getSpanContext(active)?.traceId
      ? withSpan(active, span)
      : active;
  }

  /** Undefined when nothing travels: a message without headers costs half. */
  private inject(own: Context): Record<string, string> | undefined {
    const carrier: Carrier = { metadata: undefined };
    this.parts.propagator.inject(own, carrier, setter);
    return carrier.metadata;
  }

  /** Not what is active: that of the socket is that of whoever made the connection. */
  private extract(headers: RequestHeaders | undefined): Context {
    return headers ? this.parts.propagator.extract(emptyContext, headers, getter) : ROOT_CONTEXT;
  }

  private partsOf(method: Method): MethodParts {
    let known = this.methods.get(method);
    if (!known) {
      const { server } = this;
      const { rpcClient, rpcServer } = this.parts.instruments;
      const rpcMethod = `${method.service.desc.typeName}/${method.desc.name}`;
      const byQueue = (operation: string, type: string) =>
        new Map(
          method.queues.map(({ subject }) => [
            subject,
            {
              [Attr.messagingSystem]: "nats",
              [Attr.messagingSystemBefore]: "nats",
              [Attr.operationName]: operation,
              [Attr.operationType]: type,
              [Attr.destination]: subject,
              [Attr.rpcMethod]: rpcMethod,
              ...server,
            },
          ]),
        );
      const attributes = { [Attr.rpcSystem]: rpcSystem, [Attr.rpcMethod]: rpcMethod, ...server };
      known = {
        rpcMethod,
        client: { kind: SpanKind.CLIENT, attributes },
        server: { kind: SpanKind.SERVER, attributes },
        called: callReport(rpcMethod, rpcClient, isFailure),
        answered: callReport(rpcMethod, rpcServer, isFault),
        submit: byQueue("submit", "send"),
        process: byQueue("process", "process"),
      };
      this.methods.set(method, known);
    }
    return known;
  }

  private async watchConnection(): Promise<void> {
    for await (const { type } of this.nats.status()) {
      if (type === "reconnect") {
        // It may be another server of the cluster.
        this.server = serverOf(this.nats);
        this.methods = new WeakMap();
        guarded(() => this.parts.instruments.reconnects.add(1, this.server));
      }
    }
  }
}

/**
 * Records the durations of a method's calls. Their attributes are made once for each code. The
 * server is left out, as in the conventions: every attribute costs each call.
 */
function callReport(
  rpcMethod: string,
  histogram: Histogram,
  isError: (error: ConnectError) => boolean,
): SpanKindOf {
  const of = (error: ConnectError | undefined): Attributes => ({
    [Attr.rpcSystem]: rpcSystem,
    [Attr.rpcMethod]: rpcMethod,
    [Attr.rpcStatusCode]: statusCode(error),
    ...errorType(error, isError),
  });
  const succeeded = of(undefined);
  const failed = new Map<Code, Attributes>();
  return {
    rpcMethod,
    report(seconds, own, error) {
      let attributes = error ? failed.get(error.code) : succeeded;
      if (!attributes) {
        attributes = of(error);
        failed.set((error as ConnectError).code, attributes);
      }
      histogram.record(seconds, attributes, own);
      return attributes;
    },
  };
}

/** The server that a connection has. */
function serverOf(nats: Nats): Attributes {
  const [, host = "", port] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(nats.getServer()) ?? [];
  return { [Attr.serverAddress]: host, ...(port && { [Attr.serverPort]: Number(port) }) };
}

function secondsSince(ms: number): number {
  // The clock of the server may be ahead of ours.
  return Math.max(0, Date.now() - ms) / 1000;
}

function linksOf(spans: Readonly<Record<string, Link["context"] | undefined>>): Link[] {
  return Object.entries(spans).flatMap(([kind, to]) =>
    to && trace.isSpanContextValid(to) ? [{ context: to, attributes: { [Own.link]: kind } }] : [],
  );
}

/** What a propagator has written, if anything. */
interface Carrier {
  metadata: Record<string, string> | undefined;
}

const setter: TextMapSetter<Carrier> = {
  set(carrier, name, value) {
    // A line break would end the header.
    if (!/[\r\n]/.test(value)) {
      carrier.metadata ??= {};
      carrier.metadata[name.toLowerCase()] = value;
    }
  },
};

const traceparent = "traceparent";

/** The trace context of the caller's, where metadata goes on with the same trace. */
function continued(
  headers: Headers | undefined,
  metadata: Record<string, string> | undefined,
): string | undefined {
  const given = headers?.get(traceparent);
  return given && metadata?.[traceparent]?.slice(3, 35) === given.slice(3, 35) ? given : undefined;
}

const givenGetter: TextMapGetter<Headers> = {
  keys: (headers) => [...headers.keys()],
  get: (headers, name) => headers.get(name) ?? undefined,
};

const getter: TextMapGetter<RequestHeaders> = {
  keys: (headers) => headers.keys(),
  get(headers, name) {
    const value = headers.get(name);
    if (value) {
      return value;
    }
    // Other clients may spell it in another way.
    for (const key of headers.keys()) {
      if (key.length === name.length && key.toLowerCase() === name) {
        return headers.get(key);
      }
    }
    return undefined;
  },
};

function guarded<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    return faulty(error);
  }
}

function faulty(error: unknown): undefined {
  diag.error("@jetrpc/otel", error);
}
