import { type Duration, DurationSchema, StringValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@jetrpc/runtime";

/** What a handler may throw, and the code that its caller sees. */
export interface Thrown {
  readonly what: string;
  /** Makes it anew. */
  readonly make: () => unknown;
  readonly code: Code;
  /** What the text that its caller sees has. */
  readonly text: RegExp;
}

const nothingSaid = /^internal error$/;

function changed(change: (error: ConnectError) => void): ConnectError {
  const error = new ConnectError("changed", Code.NotFound);
  change(error);
  return error;
}

function throwing(): never {
  throw new Error("nobody may look at it");
}

function withDetails(count: number, size: number): ConnectError {
  const detail = { desc: StringValueSchema, value: { value: "x".repeat(size) } };
  return new ConnectError("details", Code.NotFound, undefined, Array(count).fill(detail));
}

function circular(): Error {
  const cause: { self?: unknown } = {};
  cause.self = cause;
  return new ConnectError("circular", Code.NotFound, undefined, undefined, cause);
}

export const thrown: readonly Thrown[] = [
  [
    "a text of 1.1 MB",
    () => new ConnectError("x".repeat(1_100_000), Code.NotFound),
    /x \(left out: \d+ of 1100000 bytes of text/,
  ],
  [
    "a text of 2 MB of signs of three bytes",
    () => new ConnectError("€".repeat(700_000), Code.NotFound),
    /€ \(left out: \d+ of 2100000 bytes of text/,
  ],
  ["a text of 400 kB of NUL", () => new ConnectError("\0".repeat(400_000), Code.NotFound), /\0/],
  [
    "a text with half a character",
    () => new ConnectError("half \ud83d.", Code.NotFound),
    /^half .\.$/,
  ],
  [
    "a detail of 1.1 MB",
    () => withDetails(1, 1_100_000),
    /^details \(left out: 1 of 1 details, for their size\)$/,
  ],
  [
    "20,000 details",
    () => withDetails(20_000, 50),
    /^details \(left out: \d+ of 20000 details, of which an error has 256 at most\)$/,
  ],
  [
    "a detail that cannot be encoded",
    () =>
      new ConnectError("odd", Code.NotFound, undefined, [
        { desc: DurationSchema, value: { nanos: 1.5 } as Duration },
        { desc: StringValueSchema, value: { value: "fine" } },
      ]),
    /^odd \(left out: 1 of 2 details, which cannot be encoded\)$/,
  ],
  [
    "metadata of 2 MB",
    () => new ConnectError("metadata", Code.NotFound, { "x-large": "x".repeat(2_000_000) }),
    /^metadata \(left out: 1 of 1 headers, for their size\)$/,
  ],
  ["a cause that is circular", circular, /^circular$/],
  ["details that are no list", () => changed((e) => Object.assign(e, { details: 7 })), /^changed$/],
  [
    "details that are nonsense",
    () =>
      changed((e) =>
        Object.assign(e, { details: [7, null, { type: 1 }, { type: "x", value: "y" }] }),
      ),
    /^changed \(left out: 4 of 4 details/,
  ],
  [
    "metadata that is none",
    () => changed((e) => Object.assign(e, { metadata: 7 })),
    /^changed \(left out: metadata/,
  ],
  [
    "a getter of details that throws",
    () => changed((e) => Object.defineProperty(e, "details", { get: throwing })),
    /^changed$/,
  ],
]
  .map(([what, make, text]) => ({ what, make, text, code: Code.NotFound }) as Thrown)
  .concat(
    [
      [
        "a code that is none",
        () => changed((e) => Object.assign(e, { code: 99 })),
        Code.Unknown,
        /^changed$/,
      ],
      [
        "a text that is none",
        () => changed((e) => Object.assign(e, { rawMessage: 7 })),
        Code.NotFound,
        /^$/,
      ],
      [
        "a getter of the code that throws",
        () => changed((e) => Object.defineProperty(e, "code", { get: throwing })),
        Code.Unknown,
        /^changed$/,
      ],
      ["an object without prototype", () => Object.create(null), Code.Internal, nothingSaid],
      ["nothing", () => undefined, Code.Internal, nothingSaid],
      ["null", () => null, Code.Internal, nothingSaid],
      ["a symbol", () => Symbol("thrown"), Code.Internal, nothingSaid],
      [
        "an Error whose text throws",
        () => Object.defineProperty(new Error(), "message", { get: throwing }),
        Code.Internal,
        nothingSaid,
      ],
      [
        "a Proxy that throws",
        () => new Proxy({}, { getPrototypeOf: throwing, get: throwing, has: throwing }),
        Code.Internal,
        nothingSaid,
      ],
      [
        "a Proxy of a ConnectError",
        () => new Proxy(new ConnectError("x", Code.NotFound), { get: throwing, has: throwing }),
        Code.Unknown,
        /^ \(left out: metadata, which cannot be read\)$/,
      ],
    ].map(([what, make, code, text]) => ({ what, make, code, text }) as Thrown),
  );
