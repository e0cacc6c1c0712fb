import {
  Code,
  ConnectError,
  createClient,
  type DurableServerStreamingMethod,
} from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { type ExtractTextRequestSchema, PdfService } from "../../../gen/pdf/v1/pdf_pb.js";
import { formatEntry } from "../src/ledger/log.js";
import { Outflow } from "../src/link/outflow.js";
import { controlHeaders } from "../src/message/frame.js";
import { HeaderBlock } from "../src/message/header.js";
import { encodeStatus } from "../src/message/status.js";
import { bindService } from "../src/schema/bind-service.js";
import type { MethodBinding } from "../src/schema/binding.js";
import { nameCall } from "../src/schema/call-id.js";
import { dueSubjectOf, entrySubjectOf, laterSubjectOf } from "../src/schema/call-subjects.js";
import { readTable } from "./docs-table.js";
import { ResponseSchema, TestService } from "./gen/test/v1/test_pb.js";
import { useNats } from "./support.js";

const nats = useNats();

const pdf = bindService(PdfService);
const method = pdf.methods.get("extractText") as MethodBinding;
const invoice = nameCall("_", "invoice-42");

function hex(bytes: Uint8Array): string {
  return (Buffer.from(bytes).toString("hex").match(/../g) ?? []).join(" ");
}

function lines(block: HeaderBlock): string {
  return new TextDecoder()
    .decode(block.encode())
    .split("\r\n")
    .slice(1, -2)
    .map((line) => `\`${line}\``)
    .join(", ");
}

const gone = encodeStatus(new ConnectError("gone", Code.NotFound));

/** What the code makes of that which the protocol's test vectors give. */
const vectors: Record<string, () => string | Promise<string>> = {
  "a direct call of `GetInfo`": () => `\`${pdf.methods.get("getInfo")?.directSubject}\``,
  "data frame 1 with messages (hex) `08 01` and none": async () => {
    const frames: Uint8Array[] = [];
    const outflow = new Outflow((frame) => frames.push(frame), 65_536);
    for (const message of [[1], [8, 1], []]) {
      outflow.write(new Uint8Array(message));
    }
    await outflow.drain();
    return `payload (hex) \`${hex(frames[1] as Uint8Array)}\``;
  },
  "the end of a stream of 2 data frames": () => lines(controlHeaders("end", 2)),
  "`ExtractText`, owner `_`, call id `invoice-42`": () =>
    `\`${method.queueSubject}.${invoice.suffix}\` in \`${pdf.stream}\``,
  "its request, payload (hex) `0a 01 78`": async () => {
    const connection = await nats.connect();
    const client = createClient<{
      extractText: DurableServerStreamingMethod<typeof ExtractTextRequestSchema, never>;
    }>(PdfService, connection);
    await client.extractText.submit(
      { document: new TextEncoder().encode("x") },
      { callId: "invoice-42" },
    );
    const subject = `${method.queueSubject}.${invoice.suffix}`;
    const stored = await connection.nats.request(`$JS.API.DIRECT.GET.${pdf.stream}.${subject}`);
    expect(hex(stored.data)).toBe("0a 01 78");
    const own = [...(stored.headers ?? [])].filter(([name]) => /^Jetrpc-|Expected/.test(name));
    return own.map(([name, [value]]) => `\`${name}: ${value}\``).join(", ");
  },
  "its log": () => `\`${entrySubjectOf(method, invoice)}\` in \`${pdf.logStream}\``,
  "the same live": () => `\`${method.liveSubject}.${invoice.suffix}.entry\``,
  "its dead letter": () => `\`${method.deadSubject}.${invoice.suffix}\` in \`${pdf.deadStream}\``,
  "the same call for later": () =>
    `\`${laterSubjectOf(method, invoice)}\` in \`${pdf.laterStream}\``,
  "the same call when it is due": () =>
    `\`${dueSubjectOf(method, { subject: method.queueSubject }, invoice)}\` in \`${pdf.laterStream}\``,
  "call id `Vd9kXbTn0yYhGmBq3sJw2L.7`, owner `acme`": () =>
    `\`${method.queueSubject}.${nameCall("acme", "Vd9kXbTn0yYhGmBq3sJw2L.7").suffix}\` in \`${pdf.stream}\``,
  "the first attempt of a unary call succeeds": () =>
    `\`Jetrpc-Entry: ${formatEntry("end", 1, "succeeded")}\``,
  "attempt 2 claims delivery 3 of the request with sequence 17": () =>
    `\`Jetrpc-Entry: ${formatEntry("attempt", 2, { request: 17, delivery: 3 })}\``,
  "a queued call is canceled": () => `\`Jetrpc-Entry: ${formatEntry("end", 0, "cancelled")}\``,
  'NOT_FOUND "gone"': () => `${lines(gone.headers)}, payload (hex) \`${hex(gone.payload)}\``,
  "the same as dead letter": () =>
    `\`Jetrpc-Status: ${Buffer.from(gone.payload).toString("base64")}\``,
  "the same in JSON, with a detail `test.v1.Response` of (hex) `0a 01 78`": () => {
    const detail = { desc: ResponseSchema, value: { text: "x" } };
    const error = new ConnectError("gone", Code.NotFound, undefined, [detail]);
    const { payload } = encodeStatus(error, { encoding: "json" });
    return `payload \`${new TextDecoder().decode(payload)}\``;
  },
  "a response header `trailer-x: y`": () =>
    lines(new HeaderBlock().addMetadata(new Headers({ "trailer-x": "y" }), "header")),
  "a response trailer `x: y`": () =>
    lines(new HeaderBlock().addMetadata(new Headers({ x: "y" }), "trailer")),
};

describe("docs/protocol.md", () => {
  const table = readTable("protocol.md", "Test vectors");

  test("has these test vectors and no others", () => {
    expect(table.map(({ given }) => given)).toEqual(Object.keys(vectors));
  });

  test.each(table.map((row) => [row["given"] ?? "", row["then"]] as const))(
    "says of %s what the code does",
    async (given, then) => {
      expect(await vectors[given]?.()).toBe(then);
    },
  );

  test("tells the settings of all streams", async () => {
    const connection = await nats.connect();
    const service = bindService(TestService);
    // A worker makes them.
    await nats.worker({ do: () => ({}) });
    for (const row of readTable("protocol.md", "Streams and consumers")) {
      for (const [column, told] of Object.entries(row).slice(1)) {
        const name = column.slice(1, -1).replace("<stream>", service.stream);
        const info = await connection.nats.request(`$JS.API.STREAM.INFO.${name}`);
        const { config } = info.json() as { config: Record<string, unknown> };
        expect([name, row["setting"], settingOf(told)]).toEqual([
          name,
          row["setting"],
          config[row["setting"]?.slice(1, -1) ?? ""] ?? false,
        ]);
      }
    }
  });
});

/** The value of a setting as JetStream has it. */
function settingOf(told: string): unknown {
  const service = bindService(TestService);
  const values: Record<string, unknown> = {
    yes: true,
    no: false,
    none: 0,
    "no limit": -1,
    "`max_queue_length`, or no limit": -1,
    "`result_retention`": service.resultRetentionMs * 1e6,
    "`dead_letter_retention`": service.deadLetterRetentionMs * 1e6,
    "1 s": 1e9,
    "1": 1,
    "`<prefix>.log.>` to `<prefix>.live.>`": {
      src: `${service.prefix}.log.>`,
      dest: `${service.prefix}.live.>`,
    },
    "`<prefix>.progress.>` to `<prefix>.live.>`": {
      src: `${service.prefix}.progress.>`,
      dest: `${service.prefix}.live.>`,
    },
  };
  return told in values ? values[told] : told.slice(1, -1);
}
