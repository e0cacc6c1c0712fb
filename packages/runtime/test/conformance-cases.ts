import { Code } from "@jetrpc/runtime";

/** A kind of method, as Connect's conformance suites name them. */
export type Kind =
  | "unary"
  | "client-stream"
  | "server-stream"
  | "bidi-stream/half-duplex"
  | "bidi-stream/full-duplex";

export type Metadata = readonly (readonly [name: string, ...values: string[]])[];

/** What the handler of a case does. */
export interface Plan {
  readonly header?: Metadata;
  readonly trailer?: Metadata;
  /** Its responses. */
  readonly data?: readonly string[];
  /** Waits for its signal after so many responses. */
  readonly waitsAfter?: number;
  readonly error?: { readonly code: Code; readonly message: string };
}

/** A case of a suite of github.com/connectrpc/conformance. */
export interface Case {
  /** File of the suite, without `.yaml`. */
  readonly suite: string;
  readonly name: string;
  readonly kind: Kind;
  readonly plan: Plan;
  /** How many requests a caller sends that streams them. */
  readonly requests: number;
  readonly header?: Metadata;
  readonly timeoutMs?: number;
  /** Bytes by which each request is larger than the worker's limit; undefined for small ones. */
  readonly above?: readonly number[];
  /** When the caller cancels: see the names. */
  readonly cancels?: "while the handler works" | "before its half is closed" | "after a response";
  /** Code of the call's end where that is not what the plan says. */
  readonly ends?: Code;
  /** How many responses arrive where these are not all of the plan. */
  readonly arrive?: number;
}

const kinds: readonly Kind[] = [
  "unary",
  "client-stream",
  "server-stream",
  "bidi-stream/half-duplex",
  "bidi-stream/full-duplex",
];

const asked: Metadata = [["x-conformance-test", "Value1", "Value2"]];
const single: Plan = {
  header: [["x-custom-header", "foo"]],
  trailer: [["x-custom-trailer", "bing"]],
};
const several: Plan = {
  header: [["x-custom-header", "foo", "bar", "baz"]],
  trailer: [["x-custom-trailer", "bing", "quux"]],
};

export function streamsResponses(kind: Kind): boolean {
  return kind === "server-stream" || kind.startsWith("bidi-stream");
}

export function streamsRequests(kind: Kind): boolean {
  return kind === "client-stream" || kind.startsWith("bidi-stream");
}

function dataOf(kind: Kind): readonly string[] {
  return streamsResponses(kind) ? ["first", "second"] : ["only"];
}

function make(suite: string, kind: Kind, what: string, more: Partial<Case>): Case {
  const name = what && !what.startsWith("=") ? `${kind}/${what}` : what.slice(1) || kind;
  const requests = streamsRequests(kind) ? 2 : 1;
  return { suite, kind, name, requests, plan: { data: dataOf(kind) }, ...more };
}

function failed(kind: Kind): string {
  return `${kind.replaceAll(/[-/]/g, " ")} failed`;
}

function basic(): Case[] {
  const header = asked;
  return [
    ...kinds.map((kind) =>
      make("basic", kind, "success", { header, plan: { ...single, data: dataOf(kind) } }),
    ),
    ...(["server-stream", "bidi-stream/half-duplex"] as const).map((kind) =>
      make("basic", kind, "no-responses", { header, plan: single, requests: 1 }),
    ),
    make("basic", "unary", "=unimplemented", { plan: {}, ends: Code.Unimplemented }),
  ];
}

function cancellation(): Case[] {
  const suite = "client_cancellation";
  const works = (kind: Kind, waitsAfter: number) =>
    make(suite, kind, "cancel-after-close-send", {
      cancels: "while the handler works",
      plan: { ...single, data: dataOf(kind), waitsAfter },
      ends: Code.Canceled,
      arrive: waitsAfter,
    });
  const open = (kind: Kind, arrive: number) =>
    make(suite, kind, "cancel-before-close-send", {
      cancels: "before its half is closed",
      plan: { ...single, data: dataOf(kind) },
      ends: Code.Canceled,
      arrive,
    });
  const responded = (kind: Kind) =>
    make(suite, kind, "cancel-after-responses", {
      cancels: "after a response",
      plan: { data: dataOf(kind), waitsAfter: 1 },
      requests: 1,
      ends: Code.Canceled,
      arrive: 1,
    });
  return [
    works("unary", 0),
    open("client-stream", 0),
    works("client-stream", 0),
    works("server-stream", 0),
    responded("server-stream"),
    responded("bidi-stream/full-duplex"),
    open("bidi-stream/full-duplex", 2),
    {
      ...works("bidi-stream/full-duplex", 2),
      plan: { ...single, data: ["first", "second", "third"], waitsAfter: 2 },
    },
    responded("bidi-stream/half-duplex"),
    open("bidi-stream/half-duplex", 0),
    works("bidi-stream/half-duplex", 0),
  ];
}

function duplicateMetadata(): Case[] {
  const suite = "duplicate_metadata";
  const header = asked;
  return kinds.flatMap((kind) => {
    const data = dataOf(kind);
    const error = { code: Code.Internal, message: failed(kind) };
    const cases = [make(suite, kind, "success", { header, plan: { ...several, data } })];
    if (!streamsResponses(kind)) {
      return [...cases, make(suite, kind, "error", { header, plan: { ...several, error } })];
    }
    const none =
      kind === "bidi-stream/full-duplex" ? "error-no-responses" : "error-with-no-responses";
    cases.push(
      make(suite, kind, "error-with-responses", { header, plan: { ...several, data, error } }),
      make(suite, kind, none, {
        header,
        plan: { ...several, error },
        requests: kind === "bidi-stream/half-duplex" ? 2 : 1,
      }),
    );
    if (kind === "server-stream") {
      cases.push(make(suite, kind, "no-response", { plan: several }));
    }
    return cases;
  });
}

/** The names of the codes, as the suites have them. */
const codes = Object.entries(Code)
  .filter((entry): entry is [string, Code] => typeof entry[1] === "number")
  .map(([name, code]) => [name.replace(/(?<=.)[A-Z]/g, "-$&").toLowerCase(), code] as const);

function errors(): Case[] {
  const suite = "errors";
  const header = asked;
  const fails = (kind: Kind, what: string, code: Code, message: string, more?: Partial<Case>) =>
    make(suite, kind, what, {
      requests: 1,
      ...more,
      plan: { ...more?.plan, error: { code, message } },
    });
  const denied = (kind: Kind, what = "error-with-metadata") =>
    fails(kind, what, Code.Unauthenticated, "unauthenticated", { plan: single });
  const responded = (kind: Kind) =>
    fails(kind, "error-with-responses", Code.Internal, failed(kind), {
      header,
      requests: streamsRequests(kind) ? 2 : 1,
      plan: { ...single, data: dataOf(kind) },
    });
  const silent = (kind: Kind, what: string, requests: number) =>
    fails(kind, what, Code.Internal, failed(kind), { header, requests, plan: single });
  const text = "\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\n";
  return [
    ...(["unary", "server-stream"] as const).flatMap((kind) => [
      ...codes.map(([name, code]) => fails(kind, name, code, name)),
      denied(kind),
    ]),
    fails("unary", "unicode-error-message", Code.Internal, text),
    responded("server-stream"),
    silent("server-stream", "error-with-no-responses", 1),
    fails("client-stream", "error-one-request", Code.Internal, failed("client-stream")),
    denied("client-stream"),
    fails("client-stream", "error-multiple-requests", Code.Internal, failed("client-stream"), {
      requests: 2,
    }),
    denied("bidi-stream/half-duplex", "=bidi-stream/error-with-metadata"),
    responded("bidi-stream/full-duplex"),
    silent("bidi-stream/full-duplex", "error-no-responses", 1),
    responded("bidi-stream/half-duplex"),
    silent("bidi-stream/half-duplex", "error-with-no-responses", 2),
  ];
}

function messageSize(): Case[] {
  const suite = "server_message_size";
  const sized = (kind: Kind, what: string, ...above: number[]) => {
    const ends = above.some((bytes) => bytes > 0) ? Code.ResourceExhausted : undefined;
    return make(suite, kind, what, { above, ...(ends && { ends, arrive: 0 }) });
  };
  return [
    ...(["unary", "server-stream"] as const).flatMap((kind) => [
      sized(kind, "request-equal-to-server-limit", 0),
      sized(kind, "request-exceeds-server-limit", 10),
    ]),
    ...(["client-stream", "bidi-stream/half-duplex"] as const).flatMap((kind) => [
      sized(kind, "all-requests-equal-to-server-limit", 0, 0),
      sized(kind, "first-request-exceeds-server-limit", 10, 0),
      sized(kind, "subsequent-request-exceeds-server-limit", 0, 10),
    ]),
    sized("bidi-stream/full-duplex", "all-requests-equal-to-server-limit", 0, 0),
    sized("bidi-stream/full-duplex", "first-request-exceeds-server-limit", 10, 0),
  ];
}

/** The cases that say something of a protocol without HTTP. */
export const cases: readonly Case[] = [
  ...basic(),
  ...cancellation(),
  ...kinds
    .filter((kind) => kind !== "bidi-stream/half-duplex")
    .map((kind) => make("deadline_propagation", kind, "success", { timeoutMs: 60_000 })),
  ...duplicateMetadata(),
  ...errors(),
  ...kinds
    .filter((kind) => kind !== "bidi-stream/full-duplex")
    .map((kind) =>
      make("server_empty", kind, "empty-request", { plan: {}, header: asked, requests: 1 }),
    ),
  ...messageSize(),
  ...kinds.map((kind) =>
    make("timeouts", kind, "", {
      timeoutMs: 200,
      plan: { data: dataOf(kind), waitsAfter: 0 },
      ends: Code.DeadlineExceeded,
      arrive: 0,
    }),
  ),
];
