import type { ConnectError } from "@connectrpc/connect";
import type { NatsConnection } from "@nats-io/nats-core";
import type { MethodBinding } from "../schema/binding.js";

/**
 * Watches what the clients and workers of a connection do: for traces and metrics. A part
 * that it lacks costs nothing. Its functions are called where calls are made and run: they
 * must be quick, and must not throw.
 */
export interface Observer {
  /** A client calls a method with these headers, and waits for what comes of it. */
  calling?(method: MethodBinding, headers?: Headers): Watch | undefined;
  /** A client is about to store the request of a durable call; `within` watches who waits for it, if anybody. */
  submitting?(submission: ObservedSubmission, within?: Watch): Watch | undefined;
  /** A worker is about to run a handler: for a direct call, or for an attempt of a durable one. */
  handling?(
    method: MethodBinding,
    headers: RequestHeaders | undefined,
    attempt?: ObservedAttempt,
  ): Watch | undefined;
  /** A durable call has got its end, by this process. When it was accepted is told by this process's clock. */
  ended?(method: ObservedMethod, outcome: CallOutcome, acceptedAtMs: number | undefined): void;
  /** A worker serves a method, until the returned function is called. */
  serving?(method: MethodBinding, slots: ObservedSlots): () => void;
}

/** Headers of a request, by names as they are spelled. */
export interface RequestHeaders {
  /** The first value of a name; empty when there is none. */
  get(name: string): string;
  /** The last value of a name; empty when there is none. */
  last(name: string): string;
  has(name: string): boolean;
  /** The names, each once. */
  keys(): string[];
}

/** Makes the observer of a connection. */
export type CreateObserver = (nats: NatsConnection) => Observer;

/** Watches one call, one submission, or one run of a handler. */
export interface Watch {
  /**
   * Metadata that the request takes along, unless its caller gave a trace context that it does not
   * continue: names in lower case, values without line breaks. Of `baggage` the caller's wins by itself.
   */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The `traceparent` of the caller's that it continues, and so takes the place of. */
  readonly continues?: string | undefined;
  /** Of an attempt: a line for the worker that makes the next one; it is stored in the log of the call. */
  readonly note?: string | undefined;
  /** Fields for what a worker logs about it, such as `trace_id`. */
  readonly logFields?: Readonly<Record<string, string>> | undefined;
  /** Runs a step of it: a handler, one `next()` of a stream, or the logger that is told of it. */
  run<T>(step: () => T): T;
  /**
   * What begins now is done for several calls at once, by `batched()`: `calls` are their watches,
   * this one among them.
   */
  batch?(calls: readonly Watch[]): Watch | undefined;
  /** A message of a stream has gone one way. */
  message?(direction: "sent" | "received"): void;
  /** It is over. The first time counts. */
  end(error?: ConnectError, outcome?: AttemptOutcome): void;
}

/** How a durable call ends. */
export type CallOutcome = "succeeded" | "failed" | "cancelled" | "expired";

/**
 * How an attempt ends: with its call, or so that another one follows. `retry` after a failure;
 * `release`, the worker stops; `lost`, another attempt has the call, or its log cannot be written.
 */
export type AttemptOutcome = CallOutcome | "retry" | "release" | "lost";

/** A method; of one that no schema has any more, no more is known. */
export interface ObservedMethod {
  readonly service: Pick<MethodBinding["service"], "desc">;
  readonly desc: { readonly name: string };
}

/** A durable call that is submitted. */
export interface ObservedSubmission {
  readonly method: MethodBinding;
  readonly callId: string;
  /** Those that its caller gave. */
  readonly headers: Headers | undefined;
  /** First tokens of the subject of its request: `<prefix>.queue.<Method>`. */
  readonly queue: string;
}

/** An attempt of a durable call. */
export interface ObservedAttempt {
  readonly callId: string;
  /** Its number, from 1. */
  readonly number: number;
  /** Subject of the request. */
  readonly subject: string;
  /** When the server accepted the call, in ms since 1970 by this process's clock. */
  readonly acceptedAtMs: number;
  /** {@link Watch.note} of the attempt before it. */
  readonly note: string | undefined;
}

/** Calls that a worker runs at once, of one method. */
export interface ObservedSlots {
  /** 0 is no limit. */
  readonly limit: number;
  readonly used: number;
}
