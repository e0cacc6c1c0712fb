import { readFileSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import { beforeEach, expect, test } from "vitest";
import { until } from "../../runtime/test/support.js";
import { jetrpc, linesOf, serviceOf, useShop } from "./support.js";

const shop = useShop();
let image: string;
let isMended: boolean;

beforeEach(async () => {
  image = shop.project.image({ methods: "rpc Refund(Request) returns (stream Response);" });
  isMended = false;
  const service = serviceOf(image);
  await shop.worker(service, {
    order: ({ text }: { text: string }) => {
      if (text.includes("wrong") && !isMended) {
        throw new ConnectError(`"${text}" is no amount`, Code.InvalidArgument);
      }
      return { text: `paid ${text}` };
    },
    async *refund({ text }: { text: string }) {
      yield { text };
      yield { text: `${text} again` };
    },
  } as never);
});

test("who knows only an invoice number finds its call, corrects the request and replays it", async () => {
  const client = await shop.client(serviceOf(image));
  const call = await client.order.submit({ text: "wrong" }, { callId: "invoice-42" });
  await expect(call.result()).rejects.toMatchObject({ code: Code.InvalidArgument });
  const other = await client.order.submit({ text: "5" }, { callId: "invoice-43" });
  await other.result();
  // Its worker stores the dead letter after the end that its caller hears.
  await until(async () => (await shop.run(image, "dead", "list")).stdout.includes("invoice-42"));

  const list = await shop.run(image, "calls", "list", "--prefix", "invoice-4");
  expect(list).toMatchObject({ code: 0, stderr: "" });
  const rows = list.stdout.split("\n");
  expect(rows[0]).toMatch(/^AT +STATE +METHOD +OWNER +CALL ID +ATTEMPTS +ERROR$/);
  expect(rows[1]).toMatch(/^\S+Z {2}succeeded +shop\.v1\.ShopService\.Order +_ +invoice-43/);
  expect(rows[2]).toMatch(/failed .* invoice-42 +1 +invalid_argument: "wrong" is no amount$/);
  const failed = await shop.run(image, "calls", "list", "--state", "failed", "--json");
  expect(linesOf(failed)).toMatchObject([
    { service: "shop.v1.ShopService", method: "Order", callId: "invoice-42", state: "failed" },
  ]);

  const story = await shop.run(image, "calls", "show", "invoice-42");
  expect(story.stdout).toMatch(/^state +failed$/m);
  expect(story.stdout).toMatch(/^error +invalid_argument: "wrong" is no amount$/m);
  expect(story.stdout).toContain('{"text":"wrong"}');
  const result = await shop.run(image, "calls", "result", "invoice-42");
  expect(result).toEqual({
    code: 1,
    stdout: "",
    stderr: 'jetrpc: invalid_argument: "wrong" is no amount\n',
  });

  const path = join(shop.project.folder, "fixed.json");
  writeFileSync(path, '{"txt": "9"}');
  const refused = await shop.run(image, "dead", "replay", "invoice-42", "--request", `@${path}`);
  expect(refused).toMatchObject({ code: 2, stdout: "" });
  expect(refused.stderr).toMatch(/nothing was replayed:\njetrpc: txt: .*no such field/);
  writeFileSync(path, '{"text": "9"}');
  const dry = await shop.run(image, "dead", "replay", "invoice-42", "--dry-run");
  expect(dry.stdout).toBe("would be replayed shop.v1.ShopService.Order _ invoice-42\n");
  const replayed = await shop.run(image, "dead", "replay", "invoice-42", "--request", `@${path}`);
  expect(replayed).toMatchObject({ code: 0, stderr: "" });
  expect(await shop.run(image, "calls", "follow", "invoice-42")).toEqual({
    code: 0,
    stderr: "",
    stdout: '{"text":"paid 9"}\n',
  });
});

test("who knows only what a call is about finds it, and acts on all such calls", async () => {
  const client = await shop.client(serviceOf(image));
  for (const [callId, text] of [
    ["x1", "wrong, for Ada"],
    ["x2", "wrong, for Bob"],
    ["x3", "5 for Ada"],
  ] as const) {
    await (await client.order.submit({ text }, { callId })).result().catch(() => undefined);
  }
  const failed = async () =>
    linesOf(await shop.run(image, "calls", "list", "--state", "failed", "--json")).length;
  await expect.poll(failed).toBe(2);

  const list = await shop.run(image, "calls", "list", "--contains", "for ada");
  expect(list.code).toBe(0);
  // The result of the one that succeeded has it, too.
  expect(list.stdout.match(/ x\d /g)).toEqual([" x3 ", " x1 "]);
  expect(list.stderr).toMatch(/^jetrpc: looked into \d+ requests, results and entries of logs\n$/);
  const nobody = await shop.run(image, "calls", "list", "--contains", "Grace", "--json");
  expect(nobody).toMatchObject({ code: 0, stdout: "" });
  expect(JSON.parse(nobody.stderr)).toEqual({ looked: expect.any(Number), unread: 0 });
  expect(JSON.parse(nobody.stderr).looked).toBeGreaterThanOrEqual(3);

  isMended = true;
  const replayed = await shop.run(image, "calls", "replay", "--contains", "for bob", "--json");
  expect(linesOf(replayed)).toMatchObject([{ act: "replay", matched: 1, done: 1 }]);
  expect(await shop.run(image, "calls", "follow", "x2")).toMatchObject({ code: 0 });
  await expect.poll(failed).toBe(1);
});

test("pages follow each other; a stream is followed from a message on", async () => {
  const client = await shop.client(serviceOf(image));
  for (const id of ["a", "b", "c"]) {
    await (await client.order.submit({ text: id }, { callId: id })).result();
  }
  const first = await shop.run(image, "calls", "list", "--limit", "2", "--json");
  expect(linesOf(first).map(({ callId }) => callId)).toEqual(["c", "b"]);
  const { nextPageToken } = JSON.parse(first.stderr);
  const second = await shop.run(
    image,
    "calls",
    "list",
    "--page",
    nextPageToken,
    "--json",
    "--limit",
    "2",
  );
  expect(linesOf(second).map(({ callId }) => callId)).toEqual(["a"]);
  const { refund } = client as unknown as { refund: typeof client.order };
  await refund.submit({ text: "back" }, { callId: "s" });
  const args = ["calls", "follow", "s", "--method", "shop.v1.ShopService/Refund"];
  const stream = await shop.run(image, ...args, "--from", "1");
  expect(stream).toEqual({ code: 0, stderr: "", stdout: '{"text":"back again"}\n' });
  const nobody = await shop.run(image, "calls", "show", "nobody");
  expect(nobody).toMatchObject({ code: 1, stderr: expect.stringContaining('no call "nobody"') });
});

test("calls are ended and replayed by filter, after a dry run", async () => {
  await shop.run(image, "pause", "Order");
  const client = await shop.client(serviceOf(image));
  for (const id of ["q-1", "q-2", "other"]) {
    await client.order.submit({ text: "wrong" }, { callId: id });
  }
  const result = await shop.run(image, "calls", "result", "q-1");
  expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining("the call is queued") });
  const dry = await shop.run(image, "calls", "cancel", "--prefix", "q-", "--dry-run");
  expect(dry.stdout).toBe("2 calls of shop.v1.ShopService would be canceled\n");
  const done = await shop.run(image, "calls", "cancel", "--prefix", "q-", "--json");
  expect(linesOf(done)).toMatchObject([{ act: "cancel", matched: 2, done: 2, failed: 0 }]);
  // A filter beside the id is a condition.
  const unfit = await shop.run(
    image,
    "calls",
    "cancel",
    "other",
    "--since",
    "2100-01-01T00:00:00Z",
  );
  expect(unfit.stdout).toBe("canceled 0 calls of shop.v1.ShopService\n");
  const one = await shop.run(image, "calls", "cancel", "other");
  expect(one.stdout).toBe("canceled shop.v1.ShopService.Order _ other\n");
  expect((await shop.run(image, "calls", "cancel")).code).toBe(2);
  await shop.run(image, "resume", "Order");
  for (const id of ["d-1", "d-2"]) {
    const call = await client.order.submit({ text: "wrong" }, { callId: id });
    await expect(call.result()).rejects.toMatchObject({ code: Code.InvalidArgument });
    await until(async () => (await shop.run(image, "dead", "list")).stdout.includes(id));
  }
  isMended = true;
  const replayed = await shop.run(image, "calls", "replay", "--method", "Order");
  expect(replayed.stdout).toBe("replayed 2 calls of shop.v1.ShopService\n");
  expect(await client.order.attach("d-2").result()).toMatchObject({ text: "paid wrong" });
});

/** Runs what needs no schema. */
const bare = (...args: string[]) => jetrpc(args, { env: { NATS_URL: shop.server.url } });

test("services and top tell what runs", async () => {
  const client = await shop.client(serviceOf(image));
  await (await client.order.submit({ text: "1" })).result();
  // On a busy machine a worker may answer too late.
  await expect
    .poll(async () => linesOf(await bare("services", "--json"))[0])
    .toMatchObject({
      service: "shop.v1.ShopService",
      workers: [
        {
          status: "SERVING",
          methods: [{ name: "Order", calls: 1, errors: 0 }, { name: "Refund" }],
        },
      ],
    });
  const all = expect.poll(async () => (await bare("services")).stdout);
  await all.toMatch(
    /\nshop\.v1\.ShopService\.Order +unary +durable +1 +\S+ +0\/\d+ +1 +0 +\d+ ms\n/,
  );
  const top = expect.poll(async () => (await shop.run(image, "top")).stdout);
  await top.toMatch(
    /^METHOD +LATER +QUEUED[^\n]+\nshop\.v1\.ShopService\.Order +0 +0 +0 +0 +0\.0\d+ +0\.0\d+ +0 +1\n/,
  );
});

test("the help loads no NATS client", () => {
  const main = readFileSync(join(import.meta.dirname, "../dist/main.js"), "utf8");
  const imports = [...main.matchAll(/^import (?:[^"]* from )?"([^"]+)"/gm)].map(([, from]) => from);
  const packages = imports.filter((from = "") => !from.startsWith(".") && !isBuiltin(from));
  expect(packages).toEqual(["commander"]);
});
