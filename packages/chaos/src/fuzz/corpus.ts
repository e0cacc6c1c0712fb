import { create, toBinary } from "@bufbuild/protobuf";
import {
  type Item,
  ItemSchema,
  StoreRequestSchema,
  StoreResponseSchema,
} from "../gen/fuzz/v1/fuzz_pb.js";
import type { Random } from "../random.js";
import type { Live } from "./live.js";
import { type Draft, plainStatus } from "./message.js";

/** Subjects of the service that is fuzzed begin with it. */
export const prefix = "fuzz.v1.FuzzService";
/** Its work queue, and what the names of its other streams begin with. */
export const stream = "FUZZ";

const directUnary = ["Echo", "Limited"] as const;
const streaming = ["Count", "Sum", "Chat"] as const;
const directMethods = [...directUnary, ...streaming] as const;
/** Methods whose calls are queued. */
const durableMethods = ["Work", "List", "Store", "Rank"] as const;

const nothing = Buffer.alloc(0);
const sample: Item = create(ItemSchema, {
  number: 7,
  text: "fuzz",
  data: new Uint8Array([1, 2, 3]),
  milliseconds: 1,
  items: [{ number: 1, text: "one" }, { items: [{ text: "two" }] }],
  labels: { key: "value" },
});
const sampleBytes = Buffer.from(toBinary(ItemSchema, sample));
/** As large as a reply that does not fit into a header, and fails with its own text. */
const failing = Buffer.from(
  toBinary(ItemSchema, create(ItemSchema, { text: "fails ".repeat(20_000), code: 9 })),
);
const digest = "fbc601aefa01f8692f1ee4ca767d28f0ee54083d0bbee08bcee1f2bb3b75e3b7";
const shaOfNothing = "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=";
const blob = { object: `queue.Store._._.fuzz.${digest}.0`, size: 3n, digest: shaOfNothing };
const storeBytes = Buffer.from(
  toBinary(StoreRequestSchema, create(StoreRequestSchema, { file: blob, text: "x" })),
);
const storedBytes = Buffer.from(
  toBinary(StoreResponseSchema, create(StoreResponseSchema, { file: blob, text: "x" })),
);
// google.rpc.Status, NOT_FOUND "gone"; jetrpc.v1.Progress.
const statusBytes = Buffer.from("0805120467 6f6e65".replace(" ", ""), "hex");
const progressBytes = Buffer.from([8, 1, 16, 2, 26, 1, 120]);
const json = Buffer.from(
  JSON.stringify({ number: 7, text: "fuzz", data: "AQID", labels: { a: "b" }, items: [{}] }),
);

/** The parts of a message that a template sets; the others are empty. */
interface Part extends Partial<Omit<Draft, "label" | "headers">> {
  readonly subject: string;
  readonly headers?: readonly [string, string | number][];
}

type Template = (random: Random, live: Live) => Part;

const own = "fuzz.reply";

/** Ids of calls that the fuzzer makes up: so few that they meet each other. */
function madeUp(random: Random): string {
  const owner = random.pick(["_", "_", "acme"]);
  return random.chance(0.3)
    ? `${owner}._.fuzz-${random.between(0, 200)}`
    : `${owner}.Vd9kXbTn0yYhGmBq3sJw2L.${random.between(0, 1_000_000)}`;
}

const payloadOf = (method: string) => (method === "Store" ? storeBytes : sampleBytes);

/** A durable call: of the client that may be harmed, or none. */
function callOf(random: Random, live: Live): string {
  const call = random.chance(0.6) ? live.calls.pick(random, "") : "";
  return call || `${random.pick(durableMethods)}.${madeUp(random)}`;
}

function frameOf(number: number, ...payloads: Buffer[]): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(number);
  return Buffer.concat([head, ...payloads.flatMap((each) => [Buffer.from([each.length]), each])]);
}

function dataFrame(random: Random): Buffer {
  return frameOf(random.between(0, 3), ...Array(random.between(1, 3)).fill(sampleBytes));
}

const clientReply = (random: Random, live: Live) =>
  live.clientReplies.pick(random, "_INBOX_OPEN.none.1");
const workerReply = (random: Random, live: Live) =>
  live.workerReplies.pick(random, "_INBOX_WORKER.none.1");
const streamOf = (random: Random, live: Live) =>
  live.streams.pick(random, `${prefix}.stream.Chat.worker.1`);

const ackBytes = Buffer.from(JSON.stringify({ stream: `${stream}_LOG`, seq: 5 }));
const errorBytes = Buffer.from(
  JSON.stringify({ error: { code: 400, err_code: 10071, description: "wrong last sequence: 3" } }),
);
const infoBytes = Buffer.from(
  JSON.stringify({
    type: "io.nats.jetstream.api.v1.consumer_create_response",
    stream_name: `${stream}_LOG`,
    name: "x",
    config: { name: "x", filter_subject: ">" },
    num_pending: 3,
    num_ack_pending: 0,
    delivered: { consumer_seq: 0, stream_seq: 0 },
    ack_floor: { consumer_seq: 0, stream_seq: 0 },
    state: { messages: 1, first_seq: 1, last_seq: 1 },
  }),
);

function entry(random: Random): {
  kind: string;
  payload: Buffer;
  more: [string, string | number][];
} {
  const n = random.between(0, 3);
  const status: [string, string | number][] = [
    ["Nats-Service-Error-Code", 5],
    ["Nats-Service-Error", "gone"],
  ];
  const accepted: [string, string | number] = ["Jetrpc-Accepted", 1_700_000_000_000];
  return random.pick([
    {
      // Also of a request or a delivery that never was.
      kind: `attempt ${n} ${random.pick([1, 99_999_999])} ${random.pick([1, 2, 999_999_999])}`,
      payload: nothing,
      more: [accepted, ["Jetrpc-Digest", digest] as [string, string]],
    },
    { kind: `message ${n}`, payload: sampleBytes, more: [["x-meta", "data"] as [string, string]] },
    {
      kind: `retry ${n}`,
      payload: statusBytes,
      more: [...status, ["Jetrpc-Delay-Ms", 100] as [string, number]],
    },
    { kind: `release ${n}`, payload: nothing, more: [] },
    { kind: `end ${n} succeeded`, payload: sampleBytes, more: [accepted] },
    { kind: `end ${n} succeeded`, payload: storedBytes, more: [accepted] },
    { kind: `end ${n} failed`, payload: statusBytes, more: [...status, accepted] },
    { kind: `end ${n} cancelled`, payload: statusBytes, more: [...status, accepted] },
    { kind: `end ${n} expired`, payload: statusBytes, more: [...status, accepted] },
  ]);
}

/** Well-formed messages of every kind, and how often each is sent. */
const templates: readonly (readonly [weight: number, name: string, Template])[] = [
  [
    12,
    "request",
    (random) => {
      const method = random.pick(directUnary);
      const kind = random.pick(["rpc", "rpc", "wait"]);
      return {
        subject: `${prefix}.${kind}.${method}`,
        reply: own,
        payload: sampleBytes,
        headers: random.chance(0.5)
          ? [
              ["Jetrpc-Timeout-Ms", random.between(1, 1000)],
              ["x-meta", "data"],
            ]
          : [],
      };
    },
  ],
  [1, "failing request", () => ({ subject: `${prefix}.rpc.Echo`, reply: own, payload: failing })],
  [
    3,
    "JSON request",
    () => ({
      subject: `${prefix}.rpc.Echo`,
      reply: own,
      payload: json,
      headers: [["Content-Type", "application/json"]],
    }),
  ],
  [
    1,
    "stored request",
    (random) => ({
      subject: `${prefix}.rpc.${random.pick(["Echo", "Count"])}`,
      reply: own,
      headers: [["Jetrpc-Payload", `rpc.Echo.Vd9kXbTn0yYhGmBq3sJw2L 3 ${shaOfNothing}`]],
    }),
  ],
  [
    4,
    "stream request",
    (random) => ({
      subject: `${prefix}.rpc.${random.pick(streaming)}`,
      reply: `fuzz.stream.${random.between(0, 9)}`,
      payload: random.chance(0.5) ? sampleBytes : nothing,
      headers: [["Jetrpc-Timeout-Ms", random.between(1, 1000)]],
    }),
  ],
  [
    4,
    "cancel",
    (random, live) => {
      const method = random.pick([...directMethods, ...durableMethods]);
      const call = live.calls.pick(random, "Work._._.x");
      return {
        subject: `${prefix}.cancel.${method}`,
        payload: Buffer.from(
          random.pick([own, clientReply(random, live), call.slice(call.indexOf(".") + 1)]),
        ),
      };
    },
  ],
  [
    8,
    "frame to worker",
    (random, live) => ({ subject: streamOf(random, live), payload: dataFrame(random) }),
  ],
  [
    5,
    "control frame to worker",
    (random, live) => ({
      subject: streamOf(random, live),
      headers: [
        [
          "Jetrpc-Frame",
          random.pick([
            `credit ${random.between(0, 1_000_000)}`,
            `end ${random.between(0, 5)}`,
            "accept",
            "header",
          ]),
        ],
      ],
    }),
  ],
  [
    2,
    "heartbeat",
    (random, live) => ({
      subject: `${random.pick([streamOf, clientReply])(random, live)}.heartbeat`,
      reply: random.chance(0.5) ? own : "",
    }),
  ],
  [
    8,
    "frame to client",
    (random, live) => ({ subject: clientReply(random, live), payload: dataFrame(random) }),
  ],
  [
    8,
    "control frame to client",
    (random, live) => ({
      subject: clientReply(random, live),
      reply: random.pick(["", own, `${prefix}.stream.Chat.worker.7`]),
      headers: [
        [
          "Jetrpc-Frame",
          random.pick([
            "accept",
            "accept",
            "header",
            `credit ${random.between(0, 1_000_000)}`,
            `end ${random.between(0, 5)}`,
          ]),
        ],
        ...(random.chance(0.3)
          ? ([
              ["Nats-Service-Error-Code", random.between(0, 17)],
              ["trailer-x", "y"],
            ] as [string, string | number][])
          : []),
      ],
      payload: random.chance(0.3) ? statusBytes : nothing,
    }),
  ],
  [
    4,
    "reply to client",
    (random, live) => ({
      subject: clientReply(random, live),
      payload: random.pick([sampleBytes, json, nothing, storedBytes]),
      headers: random.chance(0.3)
        ? [
            ["Content-Type", "application/json"],
            ["x-meta", "y"],
            ["Trailer-x", "z"],
          ]
        : [],
    }),
  ],
  [
    4,
    "error to client",
    (random, live) => ({
      subject: clientReply(random, live),
      payload: statusBytes,
      headers: [
        ["Nats-Service-Error-Code", random.between(1, 16)],
        ["Nats-Service-Error", "gone"],
      ],
    }),
  ],
  [
    2,
    "stored reply to client",
    (random, live) => ({
      subject: clientReply(random, live),
      headers: [["Jetrpc-Payload", `rpc.Echo.Vd9kXbTn0yYhGmBq3sJw2L 3 ${shaOfNothing}`]],
    }),
  ],
  [
    6,
    "answer of JetStream",
    (random, live) => ({
      subject: random.pick([clientReply, workerReply])(random, live),
      payload: random.pick([ackBytes, errorBytes, infoBytes]),
    }),
  ],
  [
    4,
    "stored message of JetStream",
    (random, live) => {
      const { kind, payload, more } = entry(random);
      return {
        subject: random.pick([clientReply, workerReply])(random, live),
        headers: [
          ["Nats-Stream", `${stream}_LOG`],
          ["Nats-Subject", `${prefix}.log.${callOf(random, live)}.entry`],
          ["Nats-Sequence", random.between(1, 1000)],
          ["Nats-Time-Stamp", "2026-01-01T00:00:00Z"],
          ["Jetrpc-Entry", kind],
          ...more,
        ],
        payload,
      };
    },
  ],
  [
    3,
    "status of JetStream",
    (random, live) => ({
      subject: random.pick([
        live.pulls.pick(random, "_INBOX_WORKER.none.1"),
        clientReply(random, live),
        workerReply(random, live),
      ]),
      status: random.pick([
        "NATS/1.0 503",
        "NATS/1.0 404 Not Found",
        "NATS/1.0 408 Request Timeout",
        "NATS/1.0 409 Consumer Deleted",
        "NATS/1.0 100 Idle Heartbeat",
      ]),
      headers: [
        ["Nats-Pending-Messages", random.between(0, 10)],
        ["Nats-Pending-Bytes", 0],
      ],
    }),
  ],
  [
    5,
    "queued request",
    (random) => {
      const method = random.pick(durableMethods);
      const queue = method === "Rank" ? random.pick(["queue", "queue-high", "queue-low"]) : "queue";
      const all: [string, string | number][] = [
        ["Jetrpc-Timeout-Ms", random.between(1, 5000)],
        ["Jetrpc-Digest", digest],
        ["Jetrpc-Replay", random.pick([1, 2])],
        ["Jetrpc-Accepted", Date.now()],
        ["Jetrpc-Withdrawn", random.pick(["cancelled", "expired"])],
        ["Jetrpc-Objects", `${digest} 1`],
        ["Jetrpc-Payload", `queue.${method}._._.fuzz.${digest}.0 3 ${shaOfNothing}`],
        ["Jetrpc-Dead-Letter", 3],
        ["Nats-Expected-Last-Subject-Sequence", 0],
        ["Content-Type", random.pick(["application/json", "application/protobuf"])],
        ["x-meta", "data"],
      ];
      const isJson = random.chance(0.2);
      return {
        subject: `${prefix}.${queue}.${method}.${madeUp(random)}`,
        payload: isJson ? json : payloadOf(method),
        headers: isJson
          ? [["Content-Type", "application/json"]]
          : all.filter(() => random.chance(0.15)),
      };
    },
  ],
  [
    1,
    "failing queued request",
    (random) => ({ subject: `${prefix}.queue.Work.${madeUp(random)}`, payload: failing }),
  ],
  [
    1,
    "request for later",
    (random) => {
      const method = random.pick(durableMethods);
      const call = `${method}.${madeUp(random)}`;
      const at = new Date(Date.now() + random.between(-5_000, 2_000)).toISOString();
      return {
        subject: `${prefix}.later.${call}`,
        payload: payloadOf(method),
        headers: [
          ["Nats-Schedule", `@at ${at}`],
          ["Nats-Schedule-Target", `${prefix}.due.queue.${call}`],
          ["Jetrpc-Replay", 1],
        ],
      };
    },
  ],
  [
    1,
    "due request",
    (random) => {
      const method = random.pick(durableMethods);
      const call = `${method}.${madeUp(random)}`;
      return {
        subject: `${prefix}.due.${random.pick(["queue", "queue-high"])}.${call}`,
        payload: payloadOf(method),
        headers: [["Nats-Scheduler", `${prefix}.later.${call}`]],
      };
    },
  ],
  [
    5,
    "log entry",
    (random, live) => {
      const { kind, payload, more } = entry(random);
      const where = random.pick(["log", "live", "live"]);
      return {
        subject: `${prefix}.${where}.${callOf(random, live)}.entry`,
        headers: [
          ["Jetrpc-Entry", kind],
          ...(where === "live"
            ? ([
                ["Nats-Sequence", random.between(1, 100_000)],
                ["Nats-Last-Sequence", random.pick([0, 0, random.between(1, 1000)])],
              ] as [string, number][])
            : []),
          ...more,
        ],
        payload,
      };
    },
  ],
  [
    2,
    "progress",
    (random, live) => ({
      subject: `${prefix}.${random.pick(["progress", "live"])}.${callOf(random, live)}.progress`,
      headers: [["Jetrpc-Entry", "progress 1"]],
      payload: progressBytes,
    }),
  ],
  [
    1,
    "dead letter",
    (random, live) => {
      const call = callOf(random, live);
      return {
        subject: `${prefix}.dead.${call}`,
        payload: sampleBytes,
        headers: [
          ["Nats-Service-Error-Code", 5],
          ["Nats-Service-Error", "gone"],
          ["Jetrpc-Status", "CAUSBGdvbmU="],
          ["Jetrpc-Attempts", 2],
          ["Jetrpc-Accepted", 1_700_000_000_000],
          ["Jetrpc-Digest", digest],
        ],
      };
    },
  ],
  [
    2,
    "discovery",
    (random) => ({
      subject: `$SRV.${random.pick(["PING", "INFO", "STATS"])}${random.pick(["", ".fuzz_v1_FuzzService", ".fuzz_v1_FuzzService.x"])}`,
      reply: own,
    }),
  ],
  [1, "describe", () => ({ subject: `${prefix}.describe`, reply: own })],
  [
    2,
    "object",
    (random, live) => {
      const name = random.chance(0.5)
        ? live.objects.pick(random, "").split(".").slice(3).join(".")
        : `queue.Store.${madeUp(random)}.${digest}.0`;
      const isChunk = random.chance(0.5);
      return {
        subject: `$O.${stream}_PAYLOAD.${isChunk ? `C.${name || "x"}` : `M.${Buffer.from(name).toString("base64url")}`}`,
        headers: isChunk ? [["Jetrpc-Chunk", "1 3"]] : [["Nats-Rollup", "sub"]],
        payload: isChunk
          ? Buffer.from("abc")
          : Buffer.from(
              JSON.stringify({
                name,
                nuid: name,
                size: 3,
                chunks: 1,
                digest: shaOfNothing,
                bucket: `${stream}_PAYLOAD`,
              }),
            ),
      };
    },
  ],
  [
    1,
    "acknowledgement",
    (random) => ({
      // Beyond what is stored: taking away what others queued is no fault of theirs.
      subject: `$JS.ACK.${stream}.${random.pick(durableMethods)}.1.${random.between(1e9, 2e9)}.7.1700000000000000000.0`,
      payload: Buffer.from(random.pick(["+ACK", "-NAK", '-NAK {"delay": 1}', "+WPI", "+TERM", ""])),
    }),
  ],
];

const total = templates.reduce((sum, [weight]) => sum + weight, 0);

/** A well-formed message of any kind. */
export function draw(random: Random, live: Live): Draft {
  let at = random.next() * total;
  const [, name, template] =
    templates.find(([weight]) => {
      at -= weight;
      return at < 0;
    }) ??
    templates[0] ??
    unreachable();
  const {
    subject,
    reply = "",
    status = plainStatus,
    headers = [],
    payload = nothing,
  } = template(random, live);
  return {
    label: name,
    subject,
    reply,
    status,
    headers: headers.map(([key, value]) => [key, `${value}`]),
    payload,
  };
}

function unreachable(): never {
  throw new Error("there is a template");
}
