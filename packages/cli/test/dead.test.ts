import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import { beforeEach, expect, test } from "vitest";
import { until } from "../../runtime/test/support.js";
import { linesOf, serviceOf, useShop } from "./support.js";

const bin = join(import.meta.dirname, "../bin/jetrpc.js");
const shop = useShop();
let image: string;
let isMended: boolean;

beforeEach(async () => {
  image = shop.project.image({ methods: "rpc Refund(Request) returns (Response);" });
  isMended = false;
  const service = serviceOf(image);
  const handler = ({ text }: { text: string }) => {
    if (!isMended) {
      throw new ConnectError(`no ${text}\ntoday`, Code.InvalidArgument);
    }
    return { text: `${text}, at last` };
  };
  await shop.worker(service, { order: handler, refund: handler });
});

/** Makes a call that fails. */
async function fail(method: "order" | "refund", callId: string): Promise<void> {
  const client = await shop.client(serviceOf(image));
  const call = await client[method].submit({ text: "luck" }, { callId });
  await expect(call.result()).rejects.toMatchObject({ code: Code.InvalidArgument });
  // Its worker stores the dead letter after the end that its caller hears.
  await until(async () => (await left()).includes(callId));
}

async function left(...filter: string[]): Promise<unknown[]> {
  const letters = linesOf(await shop.run(image, "dead", "list", "--json", ...filter));
  return letters.map(({ callId }) => callId);
}

test("dead letters are listed, and shown decoded", async () => {
  expect((await shop.run(image, "dead", "list")).stdout).toBe("no dead letters\n");
  await fail("order", "o-1");
  await fail("refund", "r-1");
  const { stdout } = await shop.run(image, "dead", "list");
  const [titles, first, second] = stdout.split("\n");
  expect(titles).toMatch(/^FAILED AT +METHOD +OWNER +CALL ID +ATTEMPTS +ERROR$/);
  expect(first).toMatch(
    /^20\d\d-\S+Z {2}shop\.v1\.ShopService\.Order +_ +o-1 +1 +invalid_argument: no luck today$/,
  );
  expect(second).toContain("Refund");
  expect(await left("--method", "Refund")).toEqual(["r-1"]);
  expect(await left("--method", "shop.v1.ShopService.Refund")).toEqual(["r-1"]);
  expect(await left("--method", "ShopService/Refund")).toEqual(["r-1"]);
  expect(await left("--owner", "acme")).toEqual([]);
  const shown = await shop.run(image, "dead", "show", "--call-id", "o-1");
  expect(JSON.parse(shown.stdout)).toMatchObject({
    service: "shop.v1.ShopService",
    method: "Order",
    callId: "o-1",
    owner: "_",
    attempts: 1,
    error: { code: "invalid_argument", message: "no luck\ntoday" },
    request: { text: "luck" },
  });
});

test("dead letters are replayed and discarded, those that are meant alone", async () => {
  for (const id of ["a", "b", "c", "d"]) {
    await fail("order", id);
  }
  isMended = true;
  const one = await shop.run(image, "dead", "replay", "--call-id", "b");
  expect(one).toEqual({
    code: 0,
    stderr: "",
    stdout: "replayed shop.v1.ShopService.Order _ b\n",
  });
  const client = await shop.client(serviceOf(image));
  expect(await client.order.attach("b").result()).toMatchObject({ text: "luck, at last" });
  const gone = await shop.run(image, "dead", "discard", "--call-id", "c", "--json");
  expect(linesOf(gone)).toEqual([
    { service: "shop.v1.ShopService", method: "Order", owner: "_", callId: "c", discarded: true },
  ]);
  expect(await left()).toEqual(["a", "d"]);
  expect(linesOf(await shop.run(image, "dead", "replay", "--all", "--json"))).toHaveLength(2);
  expect(await client.order.attach("d").result()).toMatchObject({ text: "luck, at last" });
  expect((await shop.run(image, "dead", "discard", "--all")).stdout).toBe("no dead letters\n");
});

test("a call id that has no dead letter is an error; those of one code are chosen", async () => {
  await fail("order", "a");
  for (const verb of ["show", "replay", "discard"]) {
    const { code, stdout, stderr } = await shop.run(image, "dead", verb, "nobody");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain('there is no dead letter of the call "nobody"');
  }
  const shown = await shop.run(image, "dead", "show", "a");
  expect(JSON.parse(shown.stdout)).toMatchObject({ callId: "a" });
  expect(await left("--code", "internal")).toEqual([]);
  expect(await left("--code", "invalid_argument")).toEqual(["a"]);
  const done = await shop.run(image, "dead", "discard", "--code", "invalid_argument");
  expect(done.stdout).toContain("discarded shop.v1.ShopService.Order _ a");
  expect(await left()).toEqual([]);
});

test("a method that is not there is an error, but that of a former schema", async () => {
  await fail("refund", "a");
  const { code, stderr } = await shop.run(image, "dead", "discard", "--method", "Nope");
  expect(code).toBe(2);
  expect(stderr).toContain("no durable method is named Nope: there are shop.v1.ShopService.Order");
  const later = shop.project.image();
  const former = await shop.run(later, "dead", "discard", "--method", "ShopService/Refund");
  expect(former).toMatchObject({ code: 0, stdout: expect.stringContaining("discarded") });
  expect(await left()).toEqual([]);
});

test("one of several calls with an id is to be named", async () => {
  await fail("order", "a");
  await fail("refund", "a");
  for (const verb of ["replay", "discard"]) {
    const { code, stdout, stderr } = await shop.run(image, "dead", verb, "a");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("--method shop.v1.ShopService.Refund --owner _");
  }
  const one = await shop.run(image, "dead", "discard", "a", "--method", "Refund");
  expect(one.stdout).toBe("discarded shop.v1.ShopService.Refund _ a\n");
  expect(await left()).toEqual(["a"]);
});

test("a dry run looks whether the new request fits", async () => {
  await fail("order", "a");
  const replay = (request: string) =>
    shop.run(image, "dead", "replay", "a", "--dry-run", "--request", request);
  const unfit = await replay('{"texts": ""}');
  expect(unfit).toMatchObject({ code: 2, stdout: "" });
  expect(unfit.stderr).toContain("the request does not fit");
  expect((await replay('{"text": "luck"}')).stdout).toContain("would be replayed");
});

test("all of them are meant only when that is said", async () => {
  await fail("order", "a");
  for (const verb of ["replay", "discard"]) {
    const { code, stdout, stderr } = await shop.run(image, "dead", verb);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("--all");
  }
  expect(await left()).toEqual(["a"]);
});

test("a method is paused and resumed, and its queue shown", async () => {
  isMended = true;
  expect((await shop.run(image, "pause", "Order")).stdout).toBe(
    "shop.v1.ShopService.Order is paused\n",
  );
  const client = await shop.client(serviceOf(image));
  const call = await client.order.submit({ text: "patience" });
  expect(linesOf(await shop.run(image, "queues", "--json"))).toMatchObject([
    { service: "shop.v1.ShopService", method: "Order", queued: 1, running: 0 },
    { method: "Refund", queued: 0 },
  ]);
  expect((await shop.run(image, "queues")).stdout).toMatch(
    /^METHOD +QUEUED +RUNNING +WORKERS +PAUSED\nshop\.v1\.ShopService\.Order +1 +0 +1 +until resumed\n/,
  );
  expect((await shop.run(image, "resume", "shop.v1.ShopService.Order")).code).toBe(0);
  expect(await call.result()).toMatchObject({ text: "patience, at last" });
  const until = await shop.run(image, "pause", "Order", "--until", "2100-01-01T00:00:00Z");
  expect(until.code).toBe(0);
  expect((await shop.run(image, "queues")).stdout).toContain("until 2100-01-01T00:00:00.000Z");
});

test("an act on many is done to its end, though nobody reads what it says", async () => {
  for (const id of ["a", "b", "c"]) {
    await fail("order", id);
  }
  const args = [bin, "dead", "discard", "--all", "--descriptors", image];
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env["PATH"], NATS_URL: shop.server.url },
    stdio: ["ignore", "pipe", "inherit"],
  });
  child.stdout.destroy();
  expect(await once(child, "close")).toEqual([0, null]);
  expect(await left()).toEqual([]);
});
