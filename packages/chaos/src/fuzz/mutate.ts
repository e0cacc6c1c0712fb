import type { Random } from "../random.js";
import { prefix, stream } from "./corpus.js";
import { type Draft, plainStatus } from "./message.js";

/** Largest message that the server takes, in bytes. */
export const maxPayload = 256 * 1024;

/** How many messages are left as they are. */
const untouched = 0.1;

/** Harms a message in up to four ways. */
export function mutate(draft: Draft, random: Random): Draft {
  if (random.chance(untouched)) {
    return draft;
  }
  const times = random.pick([1, 1, 1, 2, 2, 3, 4]);
  for (let i = 0; i < times; i++) {
    const [name, change] = random.pick(mutations);
    change(draft, random);
    draft.label += `, ${name}`;
  }
  return keepHarmless(draft);
}

type Mutation = readonly [name: string, (draft: Draft, random: Random) => void];

const names = [
  "Jetrpc-Timeout-Ms",
  "Jetrpc-Frame",
  "Jetrpc-Payload",
  "Jetrpc-Objects",
  "Jetrpc-Chunk",
  "Jetrpc-Replay",
  "Jetrpc-Digest",
  "Jetrpc-Accepted",
  "Jetrpc-Withdrawn",
  "Jetrpc-Entry",
  "Jetrpc-Delay-Ms",
  "Jetrpc-Dead-Letter",
  "Jetrpc-Attempts",
  "Jetrpc-Status",
  "Nats-Service-Error-Code",
  "Nats-Service-Error",
  "Content-Type",
  "Nats-Sequence",
  "Nats-Last-Sequence",
  "Nats-Time-Stamp",
  "Nats-Pending-Messages",
  "Nats-Msg-Id",
  "Nats-TTL",
  "Nats-Expected-Last-Subject-Sequence",
  "Nats-Expected-Stream",
  "Nats-Batch-Id",
  "Nats-Batch-Sequence",
  "Nats-Batch-Commit",
  "x-meta",
  "trailer-x",
  "x-meta-bin",
  "__proto__",
  "constructor",
] as const;

const oddNames: readonly ((random: Random) => string)[] = [
  () => "",
  () => " ",
  () => "with space",
  () => "with\ttab",
  () => "nul\u0000",
  () => "\u007f\u0001",
  () => "ümläut",
  () => "\xff\xfe",
  () => "a(b)",
  () => "jetrpc-timeout-ms",
  () => "trailer-",
  () => "Trailer-a b",
  () => "nats-",
  (random) => "n".repeat(random.pick([100, 5_000, 70_000])),
];

const oddValues: readonly ((random: Random) => string)[] = [
  () => "NaN",
  () => "-1",
  () => "0",
  () => "1e308",
  () => "-1e308",
  () => "Infinity",
  () => "9007199254740992",
  () => "9007199254740993",
  () => "2147483648",
  () => "4294967296",
  () => "18446744073709551616",
  () => "8640000000000001",
  () => "9".repeat(400),
  () => "0x10",
  () => "1.5",
  () => "",
  () => " ",
  () => ",",
  () => "a, b",
  () => "1 2 3 4 5 6 7",
  () => "\r",
  () => "a\nb",
  () => "a\rb",
  () => "a\u0000b",
  () => "\xed\xa0\x80",
  () => "\xc3\x28",
  () => "\xff\xfe\xfd",
  () => "\xf0\x9f\x92\xa9",
  () => "\u00e4",
  () => "application/json",
  () => "application/grpc",
  () => "application/json; charset=utf-8",
  () => "../../x",
  () => "rpc.Echo.x 99999999999 SHA-256=",
  () => "rpc.Echo.* 3 SHA-256=x",
  () => `queue.Store.>.0 3 x`,
  () => "-",
  () => "accept",
  () => "credit 1e300",
  () => "credit -5",
  () => "credit NaN",
  () => "end 9007199254740991",
  () => "end -1",
  () => "end",
  () => "attempt 9007199254740993 1 1",
  () => "attempt 1 1e9 1",
  () => "message 0",
  () => "end 0 failed",
  () => "end 1 exploded",
  () => "retry 1",
  () => "CAUSBGdvbmU=".repeat(1_000),
  () => "=not base64=",
  (random) => "v".repeat(random.pick([1_000, 20_000, 70_000])),
];

const statuses: readonly string[] = [
  "NATS/1.0 503",
  "NATS/1.0 503 x",
  "NATS/1.0 404",
  "NATS/1.0 408 Request Timeout",
  "NATS/1.0 409 Leadership Change",
  "NATS/1.0 100",
  "NATS/1.0 200 OK",
  "NATS/1.0 -1",
  "NATS/1.0 abc",
  "NATS/1.0 99999999999999999999",
  // A pattern took seconds for it.
  `NATS/1.0 ${"9".repeat(30_000)}\n`,
  "NATS/1.0",
  "NATS/2.0",
  "NATS/1.0503",
  "GARBAGE",
  "",
];

const oddTokens: readonly ((random: Random) => string)[] = [
  () => "",
  () => "*",
  () => ">",
  () => "_",
  () => "$",
  () => "ü",
  () => "\u0001",
  () => "\u007f",
  () => "\xff",
  () => "Unknown",
  () => "__proto__",
  () => "toString",
  () => "heartbeat",
  () => "9".repeat(30),
  () => "-1",
  () => "1e3",
  () => "0",
  () => "entry",
  (random) => "t".repeat(random.pick([129, 1_000])),
];

/** Where answers must not go. */
const oddReplies: readonly ((random: Random) => string)[] = [
  () => "",
  () => `$JS.API.STREAM.PURGE.${stream}_DEAD`,
  () => `$JS.API.STREAM.DELETE.${stream}_LOG`,
  () => `$JS.API.CONSUMER.DELETE.${stream}.Work`,
  () => "$SYS.REQ.SERVER.PING",
  () => "$SRV.PING",
  () => `${prefix}.rpc.Echo`,
  () => `${prefix}.queue.Work._._.reflected`,
  () => `${prefix}.cancel.Echo`,
  () => `${prefix}.log.Work._._.reflected.entry`,
  () => `${prefix}.`,
  () => `${prefix}`,
  () => "a..b",
  () => ".",
  () => "*",
  () => ">",
  () => "fuzz.>",
  () => "ü",
  () => "_INBOX_OPEN.x.9".padEnd(4_000, "9"),
  () => "r".repeat(3_900),
];

function withNumber(bytes: Buffer, random: Random): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length > 0) {
    const at = random.between(0, copy.length - 1);
    copy[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.between(0, 255)]);
  }
  return copy;
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) {
    bytes.push(Number(rest & 127n) | 128);
  }
  bytes.push(Number(rest));
  return bytes;
}

/** A field of a protobuf message: any number, any wire type, any length. */
function oddField(random: Random): Buffer {
  const number = random.pick([
    0n,
    1n,
    2n,
    5n,
    6n,
    7n,
    19_000n,
    536_870_911n,
    536_870_912n,
    1n << 60n,
  ]);
  const wireType = BigInt(random.between(0, 7));
  const tag = varint((number << 3n) | wireType);
  const length = random.pick([
    0n,
    1n,
    5n,
    127n,
    128n,
    1n << 20n,
    1n << 31n,
    (1n << 32n) - 1n,
    (1n << 64n) - 1n,
  ]);
  const rest = Array.from({ length: random.between(0, 12) }, () => random.between(0, 255));
  return Buffer.from([...tag, ...varint(length), ...rest]);
}

/** Messages within messages (field 5 of Item), or groups within groups. */
function nested(random: Random): Buffer {
  const depth = random.pick([10, 101, 1_000, 10_000, 30_000]);
  if (random.chance(0.3)) {
    return Buffer.alloc(depth, 0x2b);
  }
  const parts: Buffer[] = [];
  let size = 0;
  for (let i = 0; i < depth && size < maxPayload - 1_000; i++) {
    const head = Buffer.from([0x2a, ...varint(BigInt(size))]);
    parts.push(head);
    size += head.length;
  }
  return Buffer.concat(parts.reverse());
}

const tokensOf = (subject: string) => subject.split(".");

const mutations: readonly Mutation[] = [
  [
    "flip",
    (draft, random) => {
      draft.payload = withNumber(draft.payload, random);
    },
  ],
  [
    "flip many",
    (draft, random) => {
      for (let i = random.between(1, 8); i > 0; i--) {
        draft.payload = withNumber(draft.payload, random);
      }
    },
  ],
  [
    "cut",
    (draft, random) => {
      draft.payload = draft.payload.subarray(0, random.between(0, draft.payload.length));
    },
  ],
  [
    "cut front",
    (draft, random) => {
      draft.payload = draft.payload.subarray(random.between(0, draft.payload.length));
    },
  ],
  [
    "repeat",
    (draft, random) => {
      const times = random.pick([2, 2, 3, 50]);
      draft.payload = Buffer.concat(Array(times).fill(draft.payload)).subarray(0, maxPayload / 2);
    },
  ],
  [
    "splice",
    (draft, random) => {
      const at = random.between(0, draft.payload.length);
      const middle = Buffer.from(
        Array.from({ length: random.between(1, 20) }, () => random.between(0, 255)),
      );
      draft.payload = Buffer.concat([
        draft.payload.subarray(0, at),
        middle,
        draft.payload.subarray(random.between(at, draft.payload.length)),
      ]);
    },
  ],
  [
    "field",
    (draft, random) => {
      const field = oddField(random);
      draft.payload = Buffer.concat(
        random.chance(0.5) ? [draft.payload, field] : [field, draft.payload],
      );
    },
  ],
  [
    "nest",
    (draft, random) => {
      if (random.chance(0.1)) {
        draft.payload = nested(random);
      }
    },
  ],
  [
    "text",
    (draft, random) => {
      draft.payload = Buffer.from(
        random.pick([
          "null",
          "{}",
          "[]",
          "1",
          '"x"',
          "{",
          '{"error":null}',
          '{"error":{}}',
          '{"error":{"err_code":10059}}',
          '{"seq":-1}',
          '{"seq":1e400}',
          '{"seq":"1"}',
          '{"__proto__":{"x":1}}',
          '{"number":1e99}',
          '{"text":"\\ud800"}',
          '{"num_pending":1e9}',
          "[".repeat(20_000),
          '{"items":['.repeat(3_000),
        ]),
      );
    },
  ],
  [
    "empty",
    (draft) => {
      draft.payload = Buffer.alloc(0);
    },
  ],
  [
    "large",
    (draft, random) => {
      if (random.chance(0.02)) {
        const room = maxPayload - draft.headers.join().length - 300;
        const size = random.pick([65_536, maxPayload / 2, Math.max(0, room)]);
        draft.payload = Buffer.concat([draft.payload, Buffer.alloc(size)]).subarray(0, size);
      }
    },
  ],
  [
    "too large",
    (draft, random) => {
      if (random.chance(0.002)) {
        draft.payload = Buffer.alloc(maxPayload + 1);
      }
    },
  ],
  [
    "value",
    (draft, random) => {
      if (draft.headers.length > 0) {
        random.pick(draft.headers)[1] = random.pick(oddValues)(random);
      }
    },
  ],
  [
    "header",
    (draft, random) => {
      draft.headers.push([random.pick(names), random.pick(oddValues)(random)]);
    },
  ],
  [
    "odd name",
    (draft, random) => {
      draft.headers.push([random.pick(oddNames)(random), "x"]);
    },
  ],
  [
    "rename",
    (draft, random) => {
      if (draft.headers.length > 0) {
        random.pick(draft.headers)[0] = random.pick([
          random.pick(names),
          random.pick(oddNames)(random),
        ]);
      }
    },
  ],
  [
    "double header",
    (draft, random) => {
      if (draft.headers.length > 0) {
        const [name] = random.pick(draft.headers);
        draft.headers.push([name, random.pick(oddValues)(random)]);
      }
    },
  ],
  [
    "drop header",
    (draft, random) => {
      draft.headers.splice(random.between(0, draft.headers.length), 1);
    },
  ],
  [
    "many headers",
    (draft, random) => {
      if (random.chance(0.02)) {
        for (let i = random.pick([100, 1_000, 10_000]); i > 0; i--) {
          draft.headers.push([`h${random.chance(0.5) ? i : ""}`, ""]);
        }
      }
    },
  ],
  [
    "no headers",
    (draft) => {
      draft.headers = [];
    },
  ],
  [
    "status",
    (draft, random) => {
      draft.status = random.pick(statuses);
    },
  ],
  [
    "raw lines",
    (draft, random) => {
      draft.headers.push([
        random.pick(["no colon\r\nmore", "a\r\n\r\nb", "\r\n", ":", "a:b\r\n c", "x\n y"]),
        "",
      ]);
    },
  ],
  [
    "token",
    (draft, random) => {
      const tokens = tokensOf(draft.subject);
      tokens[random.between(0, tokens.length - 1)] = random.pick(oddTokens)(random);
      draft.subject = tokens.join(".");
    },
  ],
  [
    "last token",
    (draft, random) => {
      const tokens = tokensOf(draft.subject);
      tokens[tokens.length - 1] = random.pick(oddTokens)(random);
      draft.subject = tokens.join(".");
    },
  ],
  [
    "fewer tokens",
    (draft, random) => {
      const tokens = tokensOf(draft.subject);
      tokens.splice(random.between(0, tokens.length - 1), random.between(1, 2));
      draft.subject = tokens.join(".") || "x";
    },
  ],
  [
    "more tokens",
    (draft, random) => {
      draft.subject += `.${Array(random.pick([1, 2, 5, 1_000]))
        .fill("t")
        .join(".")}`;
    },
  ],
  [
    "reply",
    (draft, random) => {
      draft.reply = random.pick(oddReplies)(random);
    },
  ],
];

/** Subjects that the server itself answers. */
function isStored({ subject }: Draft): boolean {
  return !/^(fuzz\.v1\.FuzzService\.(rpc|wait|cancel|stream|describe)|\$SRV|_INBOX)/.test(subject);
}

/** Undoes what harms the server or other calls by right: the fuzzer may do everything. */
function keepHarmless(draft: Draft): Draft {
  if (isStored(draft) && /^\$|FuzzService/.test(draft.reply)) {
    // JetStream publishes its answer wherever it is told to.
    draft.reply = "";
  }
  if (draft.subject.startsWith("$JS.API") || draft.subject.startsWith("$SYS")) {
    draft.subject = "fuzz.nowhere";
  }
  if (/[ \r\n\t]|^$/.test(draft.subject)) {
    draft.subject = "fuzz.nowhere";
  }
  if (draft.status !== plainStatus && draft.headers.length === 0) {
    draft.headers.push(["x", "y"]);
  }
  return draft;
}
