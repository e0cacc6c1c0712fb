import { orderBytes } from "./order.js";
import type { MessageKind, SubjectKind } from "./subject.js";

/** Parts of the measurement, in the order of the report. */
export const suiteNames = [
  "unary",
  "unary-cold",
  "durable",
  "durable-cold",
  "replicas",
  "stream",
  "traced",
  "gateway",
  "gateway-stream",
  "backlog",
  "batches",
] as const;

/** The name of a suite. */
export type SuiteName = (typeof suiteNames)[number];

/** Suites of calls that somebody waits for. */
type CallSuiteName = Exclude<SuiteName, "backlog" | "batches">;

/** Calls of one kind, by all subjects in turns. */
export interface CallLoad {
  readonly suite: CallSuiteName;
  readonly message: MessageKind;
  /** Of an order, its size on the wire. */
  readonly payloadBytes: number;
  readonly inFlight: number;
}

/** A suite of calls. */
export interface CallSuite {
  readonly kind: SubjectKind;
  /** Each round starts processes of its own, and counts their first calls. */
  readonly isCold: boolean;
  /** The subject that all others are compared with. */
  readonly reference: string;
  readonly loads: readonly CallLoad[];
}

/** The sizes that the quick mode leaves out. */
const largePayloads = [4096, 65_536, 524_288];

/** Gives the calls of a suite. */
export function callSuite(suite: CallSuiteName, isQuick: boolean): CallSuite {
  const bytes = (payloadBytes: number, ...inFlight: number[]) =>
    inFlight.map((each): CallLoad => ({ suite, message: "bytes", payloadBytes, inFlight: each }));
  const order = (...inFlight: number[]) =>
    inFlight.map(
      (each): CallLoad => ({ suite, message: "order", payloadBytes: orderBytes, inFlight: each }),
    );
  const small = [...bytes(128, 1, 64), ...order(1, 64)];
  const of = (
    kind: SubjectKind,
    reference: string,
    loads: readonly CallLoad[],
    isCold = false,
  ): CallSuite => ({ kind, isCold, reference, loads });
  switch (suite) {
    case "unary":
      return of(
        "unary",
        "jetrpc direct",
        isQuick ? small : [...small, ...largePayloads.flatMap((size) => bytes(size, 1, 64))],
      );
    case "unary-cold":
      return of("unary", "jetrpc direct", [...bytes(128, 1, 64), ...order(64)], true);
    case "durable":
      return of("durable", "jetrpc durable", small);
    case "durable-cold":
      return of("durable", "jetrpc durable", bytes(128, 1, 64), true);
    case "replicas":
      return of("replicas", "jetrpc durable", bytes(128, 1, 64));
    case "stream":
      return of("stream", "jetrpc direct", bytes(20, 1));
    case "traced":
      return of("traced", "jetrpc direct", bytes(128, 1, 64));
    case "gateway":
      return of("gateway", "gateway http/1.1", small);
    case "gateway-stream":
      return of("gateway-stream", "gateway http/1.1", bytes(20, 1));
  }
}
