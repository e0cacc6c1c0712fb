import { fromBinary } from "@bufbuild/protobuf";
import type { JsMsg } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import { metadataName } from "./behaviour.js";
import {
  ConvertResponseSchema,
  CountResponseSchema,
  WorkResponseSchema,
} from "./gen/chaos/v1/chaos_pb.js";
import type { Expected } from "./message.js";

/** The trace of a call in its log. It is never changed: most calls share one. */
export interface CallTrace {
  readonly ends: readonly string[];
  /** The last attempt that has left an entry. */
  readonly attempt: number;
  /** Messages of a stream, in order. */
  readonly messages: number;
  /** Attempts that were given back: they count for nothing. */
  readonly released: readonly number[];
  /** The fault of the result, if there is one. */
  readonly problem?: string | undefined;
  /** The fault of the order of the messages, if there is one. */
  readonly disorder?: string | undefined;
}

const nothing: CallTrace = { ends: [], attempt: 0, messages: 0, released: [] };
const succeededAtOnce: CallTrace = { ...nothing, ends: ["succeeded"], attempt: 1 };

/** Adds an entry of a call's log to what the ones before it show. */
export function trace(
  before: CallTrace | undefined,
  message: JsMsg,
  expected: Expected | undefined,
): CallTrace {
  const was = before ?? nothing;
  const headers = readHeaders(message);
  const [kind, number, outcome = ""] = (headers?.get("Jetrpc-Entry") ?? "").split(" ");
  const attempt = Number(number) || 0;
  switch (kind) {
    case "end": {
      const problem =
        outcome === "succeeded" ? checkResult(message, headers, expected, was) : undefined;
      return !before && outcome === "succeeded" && attempt === 1 && !problem
        ? succeededAtOnce
        : { ...was, ends: [...was.ends, outcome], attempt, problem };
    }
    case "message": {
      const { index } = fromBinary(CountResponseSchema, message.data);
      const disorder =
        index === was.messages ? was.disorder : `message ${index} is number ${was.messages}`;
      return { ...was, attempt, messages: was.messages + 1, disorder };
    }
    case "release":
      return { ...was, attempt, released: [...was.released, attempt] };
    default:
      return { ...was, attempt: attempt || was.attempt };
  }
}

/** Undefined when they are poisoned. */
function readHeaders(message: JsMsg): MsgHdrs | undefined {
  try {
    return message.headers;
  } catch {
    return undefined;
  }
}

function checkResult(
  { data }: JsMsg,
  headers: MsgHdrs | undefined,
  expected: Expected | undefined,
  { messages }: CallTrace,
): string | undefined {
  if (!expected) {
    return undefined;
  }
  const { metadataBytes } = expected;
  if (metadataBytes) {
    const sizes = [metadataName, `trailer-${metadataName}`].map(
      (name) => headers?.get(name).length,
    );
    if (sizes.some((size) => size !== metadataBytes)) {
      return `it has ${sizes.join(" and ")} bytes of metadata, not ${metadataBytes}`;
    }
  }
  if (headers?.has("Jetrpc-Payload")) {
    return expected.isObject ? undefined : "its result is an object, and small";
  }
  const result = resultOf(expected, data, messages);
  return result === expected.result ? undefined : `its result is ${result}, not ${expected.result}`;
}

function resultOf({ method }: Expected, data: Uint8Array, messages: number): unknown {
  switch (method) {
    case "Count":
      return messages;
    case "Convert":
      return fromBinary(ConvertResponseSchema, data).file?.digest;
    default:
      return fromBinary(WorkResponseSchema, data).value;
  }
}
