import { expect, test } from "vitest";
import { linesOf, serviceOf, useShop } from "./support.js";

const shop = useShop();

/** The configuration of a stream, or undefined. */
async function stream(name: string): Promise<Record<string, unknown> | undefined> {
  return (await shop.api(`STREAM.INFO.${name}`))["config"] as Record<string, unknown> | undefined;
}

test("makes all that the schema says; the second run has no changes", async () => {
  const image = shop.project.image();
  const first = await shop.run(image, "apply");
  expect(first).toEqual({
    code: 0,
    stderr: "",
    stdout: `shop.v1.ShopService
  + stream SHOP
  + stream SHOP_LOG
  + stream SHOP_PROGRESS
  + stream SHOP_DEAD
  + stream SHOP_LATER
  + stream OBJ_SHOP_PAYLOAD
  + consumer Order of stream SHOP
  + consumer Order of stream SHOP_LATER
8 to create
applied
`,
  });
  expect(await shop.run(image, "apply")).toEqual({ code: 0, stderr: "", stdout: "no changes\n" });
  // A worker and its client find everything as they would have made it, the bucket too.
  const service = serviceOf(image);
  await shop.worker(service, { order: ({ text }) => ({ text }) });
  const text = "x".repeat(2_000_000);
  expect(await (await shop.client(service)).order({ text })).toMatchObject({ text });
  expect((await shop.run(image, "apply")).stdout).toBe("no changes\n");
});

test("finds nothing to do where a worker has set up the service", async () => {
  const image = shop.project.image();
  const service = serviceOf(image);
  await shop.worker(service, { order: () => ({}) });
  expect((await shop.run(image, "apply", "--dry-run")).stdout).toBe("no changes\n");
});

test("a dry run shows the plan and does nothing; its exit code tells when that is asked for", async () => {
  const image = shop.project.image();
  const dry = await shop.run(image, "apply", "--dry-run");
  expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining("+ stream SHOP\n") });
  expect(dry.stdout).not.toContain("applied");
  expect(await stream("SHOP")).toBeUndefined();
  expect((await shop.run(image, "apply", "--dry-run", "--detailed-exitcode")).code).toBe(3);
  await shop.run(image, "apply");
  expect((await shop.run(image, "apply", "--dry-run", "--detailed-exitcode")).code).toBe(0);
});

test("a change of the schema is shown, and made: that one alone", async () => {
  await shop.run(shop.project.image(), "apply");
  const image = shop.project.image({
    service: "result_retention: {seconds: 1209600}",
    order: "ack_wait: {seconds: 30}",
    methods: "rpc Refund(Request) returns (Response);",
  });
  const { code, stdout } = await shop.run(image, "apply");
  expect(code).toBe(0);
  expect(stdout).toBe(`shop.v1.ShopService
  ~ stream SHOP_LOG
      max_age: 7d -> 14d
  ~ stream SHOP_PROGRESS
      max_age: 7d -> 14d
  ~ consumer Order of stream SHOP
      ack_wait: 15s -> 30s
  + consumer Refund of stream SHOP
  + consumer Refund of stream SHOP_LATER
2 to create, 3 to change
applied
`);
  expect((await stream("SHOP_LOG"))?.["max_age"]).toBe(14 * 24 * 3_600e9);
  expect((await shop.run(image, "apply")).stdout).toBe("no changes\n");
});

test("what an administrator has set besides is kept", async () => {
  await shop.run(shop.project.image(), "apply");
  const config = await stream("SHOP_LOG");
  await shop.api("STREAM.UPDATE.SHOP_LOG", { ...config, max_bytes: 123_456_789 });
  await shop.api("CONSUMER.PAUSE.SHOP.Order", { pause_until: "2200-01-01T00:00:00Z" });
  const image = shop.project.image({
    service: "result_retention: {seconds: 1209600}",
    order: "ack_wait: {seconds: 30}",
  });
  expect((await shop.run(image, "apply")).code).toBe(0);
  expect(await stream("SHOP_LOG")).toMatchObject({ max_bytes: 123_456_789 });
  expect(await shop.api("CONSUMER.INFO.SHOP.Order")).toMatchObject({ paused: true });
});

test("changes are applied under load without losing a call", async () => {
  const before = shop.project.image();
  const service = serviceOf(before);
  await shop.worker(service, { order: ({ text }) => ({ text }) });
  const client = await shop.client(service);
  const calls: Promise<unknown>[] = [];
  let isOver = false;
  const load = (async () => {
    for (let index = 0; !isOver || index < 200; index++) {
      const call = await client.order.submit({ text: `${index}` });
      calls.push(
        call.result().then((result) => expect(result).toMatchObject({ text: `${index}` })),
      );
    }
  })();
  const versions = [
    { service: "max_queue_length: 100000", order: "ack_wait: {seconds: 5}" },
    {
      service: "max_queue_length: 200000 result_retention: {seconds: 1209600}",
      order: "ack_wait: {seconds: 60} max_concurrency: 100",
    },
  ];
  for (const version of versions) {
    const image = shop.project.image(version);
    const submitted = calls.length;
    expect((await shop.run(image, "apply")).stdout).toMatch(/change\napplied\n$/);
    expect(calls.length).toBeGreaterThan(submitted);
  }
  isOver = true;
  await load;
  await Promise.all(calls);
});

test("what is destructive is refused with the reason, and done when it is allowed", async () => {
  const before = shop.project.image({ methods: "rpc Refund(Request) returns (Response);" });
  await shop.run(before, "apply");
  await shop.run(before, "pause", "Refund");
  const client = await shop.client(serviceOf(before));
  await client.refund.submit({}, { callId: "r-1" });
  const after = shop.project.image({ service: "dead_letter_retention: {seconds: 86400}" });
  const refused = await shop.run(after, "apply");
  expect(refused.code).toBe(1);
  expect(refused.stdout).toBe(`shop.v1.ShopService
  ! stream SHOP_DEAD (destructive)
      max_age: 30d -> 1d
      what is older than the new max_age is dropped: it holds 0 messages
  - consumer Refund of stream SHOP (destructive)
      the schema has no method Refund any more: the consumer is removed, and queued calls become dead letters (1 call waits or runs). Stop workers that serve it first
  - consumer Refund of stream SHOP_LATER (destructive)
      the schema has no method Refund any more: the consumer is removed, and queued calls become dead letters (0 calls wait or run). Stop workers that serve it first
3 destructive
`);
  expect(refused.stderr).toBe(
    "jetrpc: nothing was changed, for the reasons above: stream SHOP_DEAD, consumer Refund of stream SHOP, consumer Refund of stream SHOP_LATER would lose something: allow it with --allow-destructive\n",
  );
  expect((await stream("SHOP_DEAD"))?.["max_age"]).toBe(30 * 24 * 3_600e9);
  expect((await shop.run(after, "apply", "--allow-destructive")).stdout).toMatch(/applied\n$/);
  expect((await stream("SHOP_DEAD"))?.["max_age"]).toBe(24 * 3_600e9);
  expect(linesOf(await shop.run(after, "dead", "list", "--json"))).toMatchObject([
    { method: "Refund", callId: "r-1", error: { code: "unimplemented" } },
  ]);
  expect((await shop.run(after, "apply")).stdout).toBe("no changes\n");
});

test("what JetStream cannot change is refused, whatever is allowed", async () => {
  await shop.run(shop.project.image(), "apply");
  const image = shop.project.image({
    service: "storage: STORAGE_MEMORY result_retention: {seconds: 1209600}",
  });
  const { code, stdout, stderr } = await shop.run(image, "apply", "--allow-destructive");
  expect(code).toBe(1);
  expect(stdout).toContain(`  x stream SHOP (impossible)
      storage: "file" -> "memory"
      JetStream cannot change the storage of a stream: take the option back, or remove the stream`);
  expect(stderr).toContain("nothing was changed");
  expect((await stream("SHOP_LOG"))?.["max_age"]).toBe(7 * 24 * 3_600e9);
});

test("what the server refuses is told with the place", async () => {
  const image = shop.project.image({ service: "replicas: 3" });
  const { code, stderr } = await shop.run(image, "apply");
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^jetrpc: stream SHOP: .*replicas > 1 not supported in non-clustered mode/,
  );
});

test("--json tells the same", async () => {
  const image = shop.project.image();
  const [dry] = linesOf(await shop.run(image, "apply", "--dry-run", "--json"));
  expect(dry).toMatchObject({ applied: false });
  expect((dry as { changes: unknown[] }).changes[0]).toEqual({
    service: "shop.v1.ShopService",
    kind: "create",
    what: "stream SHOP",
    differences: [],
    reasons: [],
  });
  expect(linesOf(await shop.run(image, "apply", "--json"))).toMatchObject([{ applied: true }]);
  expect(linesOf(await shop.run(image, "apply", "--json"))).toEqual([
    { changes: [], applied: false },
  ]);
  const changed = shop.project.image({ service: "result_retention: {seconds: 60}" });
  const refused = await shop.run(changed, "apply", "--json");
  expect(linesOf(refused)).toMatchObject([
    {
      applied: false,
      changes: [
        {
          kind: "destructive",
          what: "stream SHOP_LOG",
          differences: [{ field: "max_age", from: 604_800e9, to: 60e9 }],
        },
        { kind: "destructive", what: "stream SHOP_PROGRESS" },
      ],
    },
  ]);
  expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: "failed_precondition" } });
});
