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
  RequestHeaders,
  Watch,
} from "@jetrpc/runtime";
import {
  type Attributes,
  type Context,
  context,
  type Histogram,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  type TextMapPropagator,
  trace,
} from "@opentelemetry/api";
import { beginSpan, isSampled } from "./begin-span.js";
import {
  type Carrier,
  continued,
  givenGetter,
  requestGetter,
  setter,
  traceparent,
} from "./carriers.js";
import { emptyContext, spanIn, withSpan } from "./context-of-span.js";
import { Attr, Own, rpcSystem } from "./conventions.js";
import { guarded } from "./guarded.js";
import type { Instruments } from "./instruments.js";
import { withCallId } from "./log-fields.js";
import { type SpanKindOf, type SpanParts, SpanWatch } from "./span-watch.js";
import { errorType, isFailure, isFault, statusCode } from "./status-code.js";
import { parseNote, toNote } from "./trace-note.js";

type Nats = Connection["nats"];
type Method = ObservedSubmission["method"];

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
    return guarded(() => {
      const { rpcMethod, client, called } = this.partsOf(method);
      const parent = this.parentOf(headers);
      const span = this.begin(rpcMethod, client, parent);
      const own = withSpan(parent, span);
      const metadata = this.inject(this.isAlone(parent, span) ? parent : own);
      const continues = continued(headers, metadata);
      return new SpanWatch(span, own, this.parts, called, metadata, continues);
    });
  }

  submitting(
    { method, callId, headers, queue }: ObservedSubmission,
    within?: Watch,
  ): Watch | undefined {
    return guarded(() => {
      const { rpcMethod, submit: byQueue } = this.partsOf(method);
      const submit = byQueue.get(queue) ?? {};
      const attributes = { ...submit, [Attr.messageId]: callId };
      const parent = this.parentOf(headers, activeWithin(within));
      const options = { kind: SpanKind.PRODUCER, attributes };
      const span = this.begin(`submit ${queue}`, options, parent);
      const own = withSpan(parent, span);
      const report: SpanKindOf["report"] = (seconds, _, error) => {
        const failure = errorType(error, isFailure);
        record(this.parts.instruments.operation, seconds, { ...submit, ...failure }, own);
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
    return guarded(() =>
      attempt ? this.attempting(method, headers, attempt) : this.answering(method, headers),
    );
  }

  private answering(method: Method, headers: RequestHeaders | undefined): Watch {
    const { rpcMethod, server, answered } = this.partsOf(method);
    const parent = this.extract(headers);
    const span = this.begin(rpcMethod, server, parent);
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
    const options = { kind: SpanKind.CONSUMER, attributes, links };
    const span = this.begin(`process ${name}`, options, parent, submitted);
    const own = withSpan(withCallId(parent, callId), span);
    if (number === 1) {
      const waited = secondsSince(acceptedAtMs);
      record(instruments.queue, waited, { [Attr.rpcMethod]: rpcMethod }, own);
    }
    const report: SpanKindOf["report"] = (seconds, _, error, outcome) => {
      const failure = outcome === "cancelled" ? {} : errorType(error, isFailure);
      record(instruments.process, seconds, { ...process, ...failure }, own);
      return { ...failure, ...(outcome && { [Own.attemptOutcome]: outcome }) };
    };
    const left = isSampled(span) ? toNote(span.spanContext()) : undefined;
    const kind = { rpcMethod, report };
    return new SpanWatch(span, own, this.parts, kind, undefined, undefined, left);
  }

  ended(
    { service, desc }: ObservedMethod,
    outcome: CallOutcome,
    acceptedAtMs: number | undefined,
  ): void {
    const { call, ended } = this.parts.instruments;
    const attributes = {
      [Attr.rpcMethod]: `${service.desc.typeName}/${desc.name}`,
      [Own.outcome]: outcome,
    };
    guarded(() => ended.add(1, attributes));
    if (acceptedAtMs !== undefined) {
      record(call, secondsSince(acceptedAtMs), attributes);
    }
  }

  serving(method: Method, slots: ObservedSlots): () => void {
    const { served } = this.parts.instruments;
    const entry = { rpcMethod: this.partsOf(method).rpcMethod, slots };
    served.add(entry);
    return () => served.delete(entry);
  }

  /** `of` has the trace that is looked at, where that is of interest. */
  private begin(name: string, options: SpanOptions, parent: Context, of = parent): Span {
    const { parts } = this;
    const given = parts.newTraces === undefined ? undefined : spanIn(of);
    return beginSpan(parts, name, options, parent, given);
  }

  /** No trace context has to travel with a call that begins no trace, and is in none. */
  private isAlone(parent: Context, span: Span): boolean {
    return this.parts.newTraces !== undefined && !isSampled(span) && !spanIn(parent);
  }

  /** That of the caller's headers, as a gateway has it, unless what is active is of the same trace. */
  private parentOf(headers: Headers | undefined, active = context.active()): Context {
    if (!headers?.has(traceparent)) {
      return active;
    }
    const read = () => this.parts.propagator.extract(emptyContext, headers, givenGetter);
    const span = trace.getSpan(guarded(read) ?? emptyContext);
    return span && span.spanContext().traceId !== trace.getSpanContext(active)?.traceId
      ? withSpan(active, span)
      : active;
  }

  /** Undefined when nothing travels: a message without headers costs half. */
  private inject(own: Context): Record<string, string> | undefined {
    const carrier: Carrier = { metadata: undefined };
    // A span has begun: whatever becomes of its header, it has to end.
    guarded(() => this.parts.propagator.inject(own, carrier, setter));
    return carrier.metadata;
  }

  /** Not what is active: that of the socket is that of whoever made the connection. */
  private extract(headers: RequestHeaders | undefined): Context {
    const read = () => this.parts.propagator.extract(emptyContext, headers, requestGetter);
    return (headers && guarded(read)) ?? ROOT_CONTEXT;
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
      record(histogram, seconds, attributes, own);
      return attributes;
    },
  };
}

/** A view may throw, and what comes after has to be done all the same. */
function record(histogram: Histogram, seconds: number, attributes: Attributes, own?: Context) {
  guarded(() => histogram.record(seconds, attributes, own));
}

/** What is active; where there is no context manager, as in a browser, that of the call that waits. */
function activeWithin(call: Watch | undefined): Context {
  const active = context.active();
  return call instanceof SpanWatch && !spanIn(active) ? call.own : active;
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
