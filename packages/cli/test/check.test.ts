import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { storeRaw, withLines } from "../../runtime/test/raw-headers.js";
import { unseenSchemas } from "../src/check/described-schemas.js";
import { jetrpc, linesOf, serviceOf, useShop } from "./support.js";

const shop = useShop();
const name = "bank.v1.BankService";
const bin = join(import.meta.dirname, "../../../node_modules/.bin");

const contract = `syntax = "proto3";
package bank.v1;
import "jetrpc/v1/options.proto";
service BankService {
  option (jetrpc.v1.service) = {stream: "BANK" result_retention: {seconds: 86400}};
  rpc Rate(Order) returns (Receipt) {
    option idempotency_level = NO_SIDE_EFFECTS;
  }
  rpc Pay(Order) returns (Receipt) {
    option (jetrpc.v1.method) = {timeout: {seconds: 60} priorities: true};
  }
  rpc Close(Order) returns (Receipt) {
    option (jetrpc.v1.method) = {timeout: {seconds: 60} priorities: true};
  }
}
message Order {
  string account = 1;
  int32 cents = 2;
  Kind kind = 3;
  string memo = 4;
}
enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_GIFT = 1;
}
message Receipt {
  string number = 1;
  int32 cents = 2;
}
`;

/** Builds an image of the contract after some replacements. */
function imageOf(label: string, ...changes: (readonly [from: string, to: string])[]): string {
  let text = contract;
  for (const [from, to] of changes) {
    expect(text).toContain(from);
    text = text.replace(from, to);
  }
  shop.project.write("proto/bank/v1/bank.proto", text);
  const path = join(shop.project.folder, `${label.replaceAll(/\W+/g, "-")}.binpb`);
  execFileSync(join(bin, "buf"), ["build", "--path", "proto/bank", "-o", path], {
    cwd: shop.project.folder,
    stdio: "pipe",
  });
  return path;
}

let before: string;

beforeAll(() => {
  before = imageOf("before");
});

interface Order {
  readonly account: string;
  readonly cents: number;
}

/** Calls of Pay: one queued with a priority, one scheduled, one dead, one with a result. */
beforeEach(async () => {
  const service = serviceOf(before, name);
  const pay = ({ account, cents }: Order) => {
    if (account === "none") {
      throw new ConnectError("no such account", Code.NotFound);
    }
    return { number: "r-1", cents };
  };
  const worker = await shop.worker(service, { rate: pay, pay, close: pay } as never);
  const client = (await shop.client(service)) as unknown as Record<
    "pay",
    Awaited<ReturnType<typeof shop.client>>["order"]
  >;
  const order = { account: "ada", cents: 500, kind: 1, memo: "thanks" };
  await client.pay({ ...order });
  const dead = await client.pay.submit({ ...order, account: "none" }, { callId: "dead-1" });
  await expect(dead.result()).rejects.toMatchObject({ code: Code.NotFound });
  await worker.drain();
  // One that describes the old schema, and takes no calls of Pay.
  await shop.worker(service, { rate: pay } as never);
  await client.pay.submit(order, { callId: "queued-1", priority: "high" });
  const notBefore = new Date(Date.now() + 3_600_000);
  await client.pay.submit(order, { callId: "later-1", notBefore });
});

const all = { queued: 1, scheduled: 1, dead: 1, ended: 2, large: 0 };

async function check(image: string, ...args: string[]) {
  const outcome = await jetrpc(
    ["check", "--json", "--descriptors", image, "--service", name, ...args],
    { env: { NATS_URL: shop.server.url, PATH: `${bin}:${process.env["PATH"]}` } },
  );
  const lines = linesOf(outcome);
  const rules = lines
    .slice(0, -1)
    .map(({ level, rule, calls }) => `${level} ${rule} ${calls ?? ""}`.trim());
  return { ...outcome, lines, rules, verdict: lines.at(-1) };
}

const field = "int32 cents = 2;\n  Kind kind";

test.each<[string, [string, string][], string[]]>([
  ["nothing", [], []],
  ["a new field", [["string memo = 4;", "string memo = 4;\n  string note = 5;"]], []],
  ["a new method", [["rpc Close", "rpc Open(Order) returns (Receipt);\n  rpc Close"]], []],
  ["a longer timeout", [["seconds: 60", "seconds: 90"]], []],
  ["a type that is the same on the wire", [[field, "uint32 cents = 2;\n  Kind kind"]], []],
  [
    "a shorter time for a method without calls",
    [
      [
        "rpc Close(Order) returns (Receipt) {\n    option (jetrpc.v1.method) = {timeout: {seconds: 60}",
        "rpc Close(Order) returns (Receipt) {\n    option (jetrpc.v1.method) = {timeout: {seconds: 30}",
      ],
    ],
    ["warning option-shrinks 0"],
  ],
  [
    "a retention that drops nothing yet",
    [["seconds: 86400", "seconds: 43200"]],
    ["warning option-shrinks 0"],
  ],
])("%s is safe to deploy", async (label, changes, rules) => {
  const outcome = await check(imageOf(label, ...changes));
  expect(outcome).toMatchObject({ code: 0, stderr: "", rules });
  const counts = { safe: true, errors: 0, warnings: rules.length, stored: all };
  const described = [{ service: name, workers: 1, versions: ["0.0.0"], schemas: 1 }];
  expect(outcome.verdict).toEqual({ ...counts, described });
});

test.each<[string, [string, string][], string[]]>([
  [
    "a method is gone",
    [[/rpc Pay[\s\S]*?\n {2}\}\n/.exec(contract)?.[0] as string, ""]],
    ["error method-removed 5"],
  ],
  [
    "a durable method becomes direct",
    [
      [
        "rpc Pay(Order) returns (Receipt) {\n    option (jetrpc.v1.method) = {timeout: {seconds: 60} priorities: true}",
        "rpc Pay(Order) returns (Receipt) {\n    option (jetrpc.v1.method) = {delivery: DELIVERY_DIRECT}",
      ],
    ],
    ["error delivery-changes 5", "error apply-impossible"],
  ],
  ["a queued call gets less time", [["seconds: 60", "seconds: 30"]], ["error option-shrinks 2"]],
  [
    "priorities are taken away",
    [
      [
        "rpc Pay(Order) returns (Receipt) {\n    option (jetrpc.v1.method) = {timeout: {seconds: 60} priorities: true",
        "rpc Pay(Order) returns (Receipt) {\n    option (jetrpc.v1.method) = {timeout: {seconds: 60}",
      ],
    ],
    ["error option-shrinks 1", "error apply-impossible"],
  ],
  [
    "a field that requests have is gone, by the rules",
    [["string memo = 4;", 'reserved 4;\n  reserved "memo";']],
    ["error request-changes 1", "error request-changes 1", "error request-changes 1"],
  ],
  [
    "the values of an enum shrink",
    [["KIND_GIFT = 1;", 'reserved 1;\n  reserved "KIND_GIFT";']],
    ["error request-changes 1", "error request-changes 1", "error request-changes 1"],
  ],
  [
    "a number becomes a text",
    [[field, "string cents = 2;\n  Kind kind"]],
    [
      "error buf:FIELD_WIRE_JSON_COMPATIBLE_TYPE",
      "error request-changes 1",
      "error request-changes 1",
      "error request-changes 1",
    ],
  ],
  [
    "results mean something else",
    [["string number = 1;\n  int32 cents = 2;", "string number = 1;\n  sint32 cents = 2;"]],
    ["error buf:FIELD_WIRE_JSON_COMPATIBLE_TYPE", "warning result-changes 1"],
  ],
  ["another stream", [['stream: "BANK"', 'stream: "BANKS"']], ["error names-change 5"]],
])("%s: not safe to deploy", async (label, changes, rules) => {
  const outcome = await check(imageOf(label, ...changes));
  expect(outcome).toMatchObject({ code: 1, stderr: "", rules });
  expect(outcome.verdict).toMatchObject({ safe: false, stored: all });
});

test("a retention that drops results is not safe, and the verdict is told in words", async () => {
  await delay(1_100);
  const image = imageOf("short", ["seconds: 86400", "seconds: 1"]);
  const { code, stdout } = await jetrpc(["check", "--descriptors", image, "--service", name], {
    env: { NATS_URL: shop.server.url, PATH: `${bin}:${process.env["PATH"]}` },
  });
  expect(code).toBe(1);
  expect(
    stdout,
  ).toBe(`error    bank.v1.BankService: result_retention shrinks from 1d to 1s (results that are dropped) [option-shrinks, 2 calls]
compared with 1 schema of bank.v1.BankService that 1 worker (0.0.0) described
looked at the calls that are stored: 1 queued, 1 scheduled, 1 dead, 2 ended
not safe to deploy: errors: 1, warnings: 0
`);
});

test("requests are counted whose headers cannot be read, or say what only a server may", async () => {
  const { nats } = await shop.connect();
  const blank = "NATS/1.0\r\n\r\n";
  await storeRaw(nats, `${name}.queue.Pay._._.odd-1`, "NATS/1.0\r\nbad name: x\r\n\r\n");
  const forged = withLines(blank, "Nats-Sequence: 0", `Nats-Subject: ${name}.queue.Close._._.x`);
  await storeRaw(nats, `${name}.queue.Pay._._.odd-2`, forged);
  const outcome = await check(before);
  expect(outcome).toMatchObject({ code: 0, stderr: "", rules: [] });
  expect(outcome.verdict).toMatchObject({ stored: { ...all, queued: 3 } });
});

test("an image is compared with", async () => {
  const image = imageOf("less time", ["seconds: 60", "seconds: 30"]);
  const against = await check(image, "--against", before);
  expect(against).toMatchObject({ code: 1, rules: ["error option-shrinks 2"] });
});

test("workers of two versions are all asked, and what breaks one of them is told", async () => {
  const short = imageOf("short, runs", ["seconds: 60", "seconds: 30"]);
  const handler = () => ({});
  await shop.worker(serviceOf(short, name), { rate: handler } as never, { version: "2.0.0" });
  const outcome = await check(short);
  // Less time than the first version gave: the second one alone would say that nothing changes.
  expect(outcome).toMatchObject({ code: 1, rules: ["error option-shrinks 2"] });
  expect(outcome.verdict).toMatchObject({
    stored: all,
    described: [{ service: name, workers: 2, versions: ["0.0.0", "2.0.0"], schemas: 2 }],
  });
});

test("a worker whose schema nobody has seen is named", async () => {
  const worker = { service: name, id: "w-2", version: "2.0.0", status: "SERVING" };
  const method = { name: "Open", kind: "unary", delivery: "durable" };
  const figures = { running: 0, slots: 1, calls: 0, errors: 0, averageMs: 0 };
  const described = {
    service: name,
    schemas: [serviceOf(before, name)],
    workers: [
      { ...worker, methods: [{ ...method, ...figures }] },
      { ...worker, id: "w-1", methods: [{ ...method, name: "Pay", ...figures }] },
    ],
  };
  expect(unseenSchemas(described)).toMatchObject([
    { level: "warning", rule: "schema-unseen", message: expect.stringContaining("w-2") },
  ]);
});
