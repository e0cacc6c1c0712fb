import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SubmitOptions } from "@jetrpc/runtime";
import { anySize } from "./any-size.js";
import { metadataName } from "./behaviour.js";
import {
  type CountRequestSchema,
  Kind,
  Part,
  type WorkRequestSchema,
} from "./gen/chaos/v1/chaos_pb.js";
import type { Expected, MethodName, Outcome } from "./message.js";
import type { Random } from "./random.js";

/** A call to make, and what has to come of it. */
export interface Plan {
  readonly request:
    | MessageInitShape<typeof WorkRequestSchema>
    | MessageInitShape<typeof CountRequestSchema>;
  readonly options: SubmitOptions;
  readonly expected: Expected;
  /** When it is canceled after its acceptance, in ms. */
  readonly cancelAfterMs?: number;
  /** True when it must not be accepted. */
  readonly isImpossible?: boolean;
}

/** One kind of calls. */
export interface CallKind {
  readonly name: string;
  /** How many of all calls are of it; or how many are made in a second, however many others are. */
  readonly frequency: { readonly share: number } | { readonly perSecond: number };
  plan(random: Random): Plan;
}

type Asked = MessageInitShape<typeof WorkRequestSchema>;

interface More extends Omit<Plan, "request" | "options" | "expected"> {
  readonly method?: MethodName;
  readonly ends?: readonly Outcome[];
  readonly options?: SubmitOptions;
  readonly isObject?: boolean;
}

/** Not so many values that each call needs an expectation of its own, and too many for chance. */
const values = 999;

function work(
  random: Random,
  asked: Asked,
  { method = "Work", ends = ["succeeded"], options = {}, isObject = false, ...more }: More = {},
): Plan {
  const value = random.between(1, values);
  const metadataBytes = asked.part === Part.METADATA && asked.kind !== Kind.BAD && asked.size;
  return {
    request: { ...asked, value },
    options,
    expected: {
      method,
      result: value,
      ends,
      ...(metadataBytes && { metadataBytes }),
      ...(isObject && { isObject }),
    },
    ...more,
  };
}

function metadata(size: number): SubmitOptions {
  return { headers: { [metadataName]: "x".repeat(size) } };
}

/** All kinds of calls but those with Blobs. */
export const callKinds: readonly CallKind[] = [
  {
    name: "quick",
    frequency: { share: 0.94 },
    plan: (random) => work(random, { kind: Kind.QUICK }),
  },
  {
    name: "stream",
    frequency: { share: 0.02 },
    plan(random) {
      const messages = random.between(0, 20);
      const milliseconds = random.pick([0, 0, 1, 10, 50]);
      return {
        request: { messages, milliseconds },
        options: {},
        expected: { method: "Count", result: messages, ends: ["succeeded"] },
      };
    },
  },
  {
    name: "delayed",
    frequency: { share: 0.02 },
    plan: (random) =>
      work(
        random,
        { kind: Kind.QUICK },
        { options: { notBefore: new Date(Date.now() + random.between(100, 4000)) } },
      ),
  },
  {
    name: "metadata",
    frequency: { share: 0.02 },
    plan: (random) =>
      work(
        random,
        { kind: Kind.QUICK, part: Part.METADATA, size: random.between(1, 40) },
        { options: metadata(random.between(0, 40)) },
      ),
  },
  {
    name: "try",
    // Many for the few slots that the method has: so one too many shows.
    frequency: { perSecond: 10 },
    plan: (random) =>
      work(
        random,
        {
          kind: random.pick([Kind.FLAKY, Kind.SLOW, Kind.SLOW, Kind.SLOW]),
          milliseconds: random.between(50, 600),
        },
        { method: "Try" },
      ),
  },
  {
    name: "priority",
    frequency: { perSecond: 10 },
    plan: (random) =>
      work(
        random,
        { kind: Kind.SLOW, milliseconds: random.between(0, 400) },
        { method: "Rank", options: { priority: random.pick(["high", "normal", "low"]) } },
      ),
  },
  {
    name: "share",
    frequency: { perSecond: 10 },
    plan: (random) =>
      work(random, { kind: Kind.SLOW, milliseconds: random.between(50, 500) }, { method: "Share" }),
  },
  {
    name: "slow",
    frequency: { perSecond: 5 },
    plan: (random) => work(random, { kind: Kind.SLOW, milliseconds: random.between(100, 3000) }),
  },
  {
    name: "flaky",
    frequency: { perSecond: 3 },
    plan: (random) => work(random, { kind: Kind.FLAKY }),
  },
  {
    name: "bad",
    frequency: { perSecond: 2 },
    plan: (random) => work(random, { kind: Kind.BAD, size: 10 }, { ends: ["failed"] }),
  },
  {
    name: "large error",
    frequency: { perSecond: 1 },
    plan: (random) =>
      work(
        random,
        {
          kind: Kind.BAD,
          size: anySize(random, 600_000),
          part: random.pick([Part.UNSPECIFIED, Part.METADATA, Part.DETAILS]),
        },
        { ends: ["failed"] },
      ),
  },
  {
    name: "broken",
    frequency: { perSecond: 0.3 },
    plan: (random) =>
      work(
        random,
        { kind: Kind.BROKEN, part: random.pick([Part.UNSPECIFIED, Part.DETAILS]) },
        { method: "Try", ends: ["failed"] },
      ),
  },
  {
    name: "large response",
    frequency: { perSecond: 1 },
    plan: (random) =>
      work(
        random,
        { kind: Kind.QUICK, size: random.between(100_000, 500_000) },
        { isObject: true },
      ),
  },
  {
    name: "large response metadata",
    frequency: { perSecond: 0.5 },
    plan: (random) =>
      work(
        random,
        { kind: Kind.QUICK, part: Part.METADATA, size: anySize(random, 100_000) },
        // A result that no message can carry is the handler's mistake.
        { ends: ["succeeded", "failed"] },
      ),
  },
  {
    name: "large request",
    frequency: { perSecond: 0.5 },
    plan: (random) =>
      work(random, {
        kind: Kind.QUICK,
        padding: new Uint8Array(random.between(200_000, 400_000)),
      }),
  },
  {
    name: "large metadata",
    frequency: { perSecond: 2 },
    plan(random) {
      const kind = random.pick([Kind.QUICK, Kind.FLAKY, Kind.BAD]);
      const notBefore = random.chance(0.3) && new Date(Date.now() + 500);
      return work(
        random,
        { kind },
        {
          ends: kind === Kind.BAD ? ["failed"] : ["succeeded"],
          options: { ...metadata(anySize(random, 48_000)), ...(notBefore && { notBefore }) },
        },
      );
    },
  },
  {
    // Near the 64 KiB that JetStream stores, above or below it: it is accepted or refused at once.
    name: "too large metadata",
    frequency: { perSecond: 0.5 },
    plan(random) {
      const size = random.between(60_000, 80_000);
      const kind = random.pick([Kind.QUICK, Kind.BAD]);
      return work(
        random,
        { kind },
        {
          ends: kind === Kind.BAD ? ["failed"] : ["succeeded"],
          options: metadata(size),
          isImpossible: size > 65_536,
        },
      );
    },
  },
  {
    name: "cancelled",
    frequency: { perSecond: 5 },
    plan: (random) =>
      work(
        random,
        { kind: random.pick([Kind.QUICK, Kind.SLOW]), milliseconds: random.between(0, 1000) },
        {
          ends: ["succeeded", "cancelled"],
          cancelAfterMs: random.pick([0, 0, 10, 300]),
          options: random.chance(0.3)
            ? { notBefore: new Date(Date.now() + random.between(10, 2000)) }
            : {},
        },
      ),
  },
  {
    name: "expiring",
    frequency: { perSecond: 5 },
    plan: (random) =>
      work(
        random,
        { kind: random.pick([Kind.QUICK, Kind.SLOW]), milliseconds: random.between(0, 1000) },
        { ends: ["succeeded", "expired"], options: { timeoutMs: random.between(50, 1500) } },
      ),
  },
  {
    name: "blocking",
    frequency: { perSecond: 0.3 },
    plan: (random) => work(random, { kind: Kind.BLOCKING, milliseconds: random.between(1, 1000) }),
  },
  {
    name: "deadly",
    frequency: { perSecond: 0.2 },
    plan: (random) =>
      work(random, { kind: Kind.DEADLY }, { method: random.pick(["Work", "Try", "Share"]) }),
  },
  {
    name: "lethal",
    frequency: { perSecond: 0.05 },
    plan: (random) => work(random, { kind: Kind.LETHAL }, { method: "Try", ends: ["failed"] }),
  },
];
