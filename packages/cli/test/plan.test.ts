import { Code, type Connection } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type PlannedChange, planService } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { expect, test } from "vitest";
import { serviceOf, useShop, type Version } from "./support.js";

/** planService() and single differences; the command is tested in apply.test.ts. */
const shop = useShop();

async function plan(version: Version, connection?: Connection) {
  const service = serviceOf(shop.project.image(version));
  return await planService(connection ?? (await shop.connect()), service);
}

/** Makes all that a version needs. */
async function setUp(version: Version): Promise<void> {
  await (await plan(version)).apply();
}

/** `change stream SHOP: max_msgs`. */
function brief({ kind, what, differences }: PlannedChange): string {
  return `${kind} ${what}${differences.map(({ field }) => `: ${field}`).join("")}`;
}

async function streamNames(): Promise<unknown> {
  return (await shop.api("STREAM.NAMES"))["streams"];
}

test("changes are told as they are done", async () => {
  const { service, changes, apply } = await plan({});
  const applied: PlannedChange[] = [];
  await apply({ onApplied: (change) => applied.push(change) });
  expect(service).toBe("shop.v1.ShopService");
  expect(applied.map(brief)).toEqual(changes.map(brief));
  expect((await plan({})).changes).toEqual([]);
});

test("a plan with something destructive or impossible is not begun", async () => {
  await setUp({});
  const { changes, apply } = await plan({
    service: "result_retention: {seconds: 60}",
    order: "ack_wait: {seconds: 30}",
  });
  expect(changes.map(brief)).toContain("change consumer Order of stream SHOP: ack_wait");
  await expect(apply()).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringMatching(
      /^shop\.v1\.ShopService: nothing was changed, because of stream SHOP_LOG \(destructive: .*it holds 0 messages/,
    ),
  });
  expect((await plan({ order: "ack_wait: {seconds: 30}" })).changes).toHaveLength(1);
});

test.each([
  ["a wider limit", "max_queue_length: 100", "max_queue_length: 200"],
  // A queue refuses what is new: it drops nothing that it has.
  ["a narrower limit of a queue", "max_queue_length: 200", "max_queue_length: 100"],
  ["a limit that is taken away", "max_queue_length: 200", ""],
])("%s is a change that loses nothing", async (_, before, after) => {
  await setUp({ service: before });
  const client = await shop.client(serviceOf(shop.project.image({ service: before })));
  for (let index = 0; index < 110; index++) {
    await client.order.submit({}).catch(() => undefined);
  }
  const { messages } = (await shop.api("STREAM.INFO.SHOP"))["state"] as { messages: number };
  const { changes, apply } = await plan({ service: after });
  expect(changes.map(brief)).toEqual(["change stream SHOP: max_msgs"]);
  await apply();
  expect((await shop.api("STREAM.INFO.SHOP"))["state"]).toMatchObject({ messages });
});

test("an ack_wait that running workers do not know of is a change with a warning", async () => {
  await setUp({});
  const { changes } = await plan({ order: "ack_wait: {seconds: 1}" });
  expect(changes).toMatchObject([
    { kind: "change", reasons: [expect.stringContaining("start them anew")] },
  ]);
});

test("a retention that would drop results tells how old they are", async () => {
  await setUp({});
  await shop.worker(serviceOf(shop.project.image()), { order: () => ({}) });
  await (await shop.client(serviceOf(shop.project.image()))).order({});
  const { changes } = await plan({ service: "result_retention: {seconds: 60}" });
  expect(changes[0]).toMatchObject({
    kind: "destructive",
    reasons: [expect.stringMatching(/it holds 1 message, the oldest of 20\d\d-.*Z$/)],
  });
});

test("what others have on the server is left alone", async () => {
  await setUp({});
  const reader = { name: "reader", filter_subject: "shop.v1.ShopService.log.>" };
  await shop.api("CONSUMER.CREATE.SHOP_LOG.reader", {
    stream_name: "SHOP_LOG",
    config: { ...reader, durable_name: "reader", ack_policy: "none" },
  });
  await shop.api("STREAM.CREATE.OTHER", { name: "OTHER", subjects: ["other.>"] });
  expect((await plan({})).changes).toEqual([]);
});

test("queues of priorities that are gone are removed when they are empty", async () => {
  const before = { order: "priorities: true" };
  await setUp(before);
  const client = await shop.client(serviceOf(shop.project.image(before)));
  const call = await client.order.submit({}, { priority: "high" });
  expect((await plan({})).changes).toMatchObject([
    { kind: "impossible", reasons: [expect.stringContaining("1 call waits or runs there")] },
    { kind: "destructive", what: "consumer Order-low of stream SHOP" },
  ]);
  await call.cancel();
  const worker = await shop.worker(serviceOf(shop.project.image(before)), { order: () => ({}) });
  await client.order({});
  await worker.drain();
  const { changes, apply } = await plan({});
  expect(changes.map(brief)).toEqual([
    "destructive consumer Order-high of stream SHOP",
    "destructive consumer Order-low of stream SHOP",
  ]);
  await apply({ allowDestructive: true });
  expect((await plan({})).changes).toEqual([]);
});

test("a stream of another name cannot have the same subjects", async () => {
  await setUp({});
  const { changes } = await plan({ stream: "SHOP2" });
  expect(changes.filter(({ kind }) => kind === "impossible").map(({ what }) => what)).toEqual([
    "stream SHOP2",
    "stream SHOP2_LOG",
    "stream SHOP2_PROGRESS",
    "stream SHOP2_DEAD",
    "stream SHOP2_LATER",
  ]);
  expect(changes[0]?.reasons).toEqual([expect.stringContaining("stream SHOP has its subjects")]);
});

test("another subject_prefix would leave calls out of reach", async () => {
  await setUp({});
  const { changes } = await plan({ service: 'subject_prefix: "shop"' });
  expect(changes.map(brief)).toContain("destructive stream SHOP: subjects");
  expect(changes.map(brief)).toContain("destructive consumer Order of stream SHOP: filter_subject");
});

test("what was made by hand and cannot be changed says how to mend it", async () => {
  await shop.api("STREAM.CREATE.SHOP", {
    name: "SHOP",
    subjects: ["queue", "queue-high", "queue-low"].map((kind) => `shop.v1.ShopService.${kind}.>`),
    retention: "limits",
    max_msgs_per_subject: 5,
  });
  const [queue] = (await plan({})).changes;
  expect(queue).toMatchObject({ kind: "impossible", what: "stream SHOP" });
  expect(queue?.reasons).toEqual([
    expect.stringContaining("JetStream cannot change the retention of a stream"),
    expect.stringContaining("all but the last 1 of each subject are dropped"),
  ]);
});

test("a service without durable methods needs its streams no more", async () => {
  await setUp({});
  const { changes, apply } = await plan({ order: "delivery: DELIVERY_DIRECT" });
  expect(changes.map(brief)).toEqual(
    ["SHOP", "SHOP_LOG", "SHOP_PROGRESS", "SHOP_DEAD", "SHOP_LATER"].map(
      (name) => `destructive stream ${name}`,
    ),
  );
  await apply({ allowDestructive: true });
  expect(await streamNames()).toEqual(["OBJ_SHOP_PAYLOAD"]);
});

test("credentials that may not look are told so", async () => {
  await using server = await startNats({
    config: `authorization { users: [
      { user: app, password: p, permissions: { publish: { deny: "$JS.API.STREAM.INFO.>" } } }
    ] }`,
  });
  const connection = await connect({ nats: { servers: server.url, user: "app", pass: "p" } });
  await expect(plan({}, connection)).rejects.toMatchObject({
    code: Code.PermissionDenied,
    rawMessage: expect.stringContaining("$JS.API.STREAM.INFO.SHOP"),
  });
  await connection.close();
});
