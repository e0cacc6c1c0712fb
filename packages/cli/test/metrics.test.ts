import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { parseEnv } from "node:util";
import { Code, ConnectError, createClient, retryAfter, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { rawHeaders, storeRaw } from "../../runtime/test/raw-headers.js";
import { gate } from "../../runtime/test/support.js";
import { freePorts } from "../../testing/src/free-ports.js";
import { linesOf, type ShopClient, serviceOf, useShop } from "./support.js";

const shop = useShop();
const bin = join(import.meta.dirname, "../bin/jetrpc.js");
const running: Exporter[] = [];

afterEach(() => {
  for (const { child } of running.splice(0)) {
    child.kill("SIGKILL");
  }
});

/** A series of a page: its name and labels as they stand there, and its value. */
type Page = ReadonlyMap<string, number>;

interface Exporter {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly url: string;
  /** What it has written to stderr. */
  readonly said: () => string;
  scrape(): Promise<Page>;
}

/** `jetrpc metrics` on a free port, that keeps nothing for later scrapes. */
async function start(args: readonly string[], env: Record<string, string>): Promise<Exporter> {
  const child = spawn(
    process.execPath,
    [bin, "metrics", "--listen", "127.0.0.1:0", "--interval", "0", "--json", ...args],
    {
      cwd: tmpdir(),
      env: { PATH: process.env["PATH"], ...env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  const [line] = await Promise.race([
    once(createInterface(child.stdout), "line"),
    once(child, "exit").then(() => {
      throw new Error(said);
    }),
  ]);
  const { url } = JSON.parse(line) as { url: string };
  const exporter = {
    child,
    url,
    said: () => said,
    scrape: async () => read(await (await fetch(url)).text()),
  };
  running.push(exporter);
  return exporter;
}

function read(text: string): Page {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(" ");
      return [line.slice(0, end), Number(line.slice(end + 1))];
    }),
  );
}

const service = 'service="shop.v1.ShopService"';

function calls(page: Page, method = "Order"): Record<string, number | undefined> {
  return Object.fromEntries(
    ["queued", "running", "scheduled", "retrying", "dead"].map((state) => [
      state,
      page.get(`jetrpc_calls{${service},method="${method}",state="${state}"}`),
    ]),
  );
}

test("calls are counted by method and state, workers and slots by version", async () => {
  const image = shop.project.image({ methods: "rpc Refund(Request) returns (Response);" });
  const described = serviceOf(image);
  let end = () => {};
  const held = new Promise<void>((resolve) => {
    end = resolve;
  });
  const worker = await shop.worker(
    described,
    {
      price: () => ({}),
      order: async ({ text }: { text: string }) => {
        if (text === "hold") {
          await held;
        }
        if (text === "retry") {
          throw retryAfter(new ConnectError("later", Code.Unavailable), 3_600_000);
        }
        if (text === "fail") {
          throw new Error("broken");
        }
        return {};
      },
    },
    { concurrency: 1, version: "1.2.3" },
  );
  onTestFinished(end);
  const client = await shop.client(described);
  const exporter = await start(["--descriptors", image], { NATS_URL: shop.server.url });

  await client.order.submit({ text: "retry" });
  await client.order.submit({ text: "x" }, { notBefore: new Date(Date.now() + 3_600_000) });
  const taken = `jetrpc_worker_slots_taken{${service},method="Order",version="1.2.3"}`;
  await expect.poll(async () => calls(await exporter.scrape())).toMatchObject({ retrying: 1 });
  await client.order.submit({ text: "hold" });
  await expect.poll(async () => (await exporter.scrape()).get(taken)).toBe(1);
  await client.order.submit({ text: "wait" });
  await client.refund.submit({ text: "wait" });

  const page = await exporter.scrape();
  expect(calls(page)).toEqual({ queued: 1, running: 1, scheduled: 1, retrying: 1, dead: 0 });
  expect(calls(page, "Refund")).toMatchObject({ queued: 1, running: 0 });
  const wanted = {
    jetrpc_up: 1,
    [`jetrpc_workers{${service},version="1.2.3"}`]: 1,
    [`jetrpc_worker_slots_limit{${service},method="Order",version="1.2.3"}`]: 1,
    [`jetrpc_method_workers{${service},method="Price",delivery="direct"}`]: 1,
    [`jetrpc_method_workers{${service},method="Order",delivery="durable"}`]: 1,
    // Nobody serves it.
    [`jetrpc_method_workers{${service},method="Refund",delivery="durable"}`]: 0,
    [`jetrpc_method_schema_mismatches{${service},method="Order"}`]: 0,
    [`jetrpc_requests_stored_total{${service}}`]: 4,
    [`jetrpc_schema_drift{${service},kind="change"}`]: 0,
  };
  expect(Object.fromEntries(Object.keys(wanted).map((name) => [name, page.get(name)]))).toEqual(
    wanted,
  );
  const ageOf = (method: string) =>
    `jetrpc_queue_oldest_age_seconds{${service},method="${method}"}`;
  const age = page.get(ageOf("Refund")) as number;
  await expect
    .poll(async () => (await exporter.scrape()).get(ageOf("Refund")))
    .toBeGreaterThan(age + 0.5);
  end();
  await expect.poll(async () => calls(await exporter.scrape())["queued"]).toBe(0);
  expect((await exporter.scrape()).get(ageOf("Order"))).toBe(0);
  await worker.drain();
});

test("calls of a worker that is gone wait, and nobody serves them", async () => {
  const image = shop.project.image({});
  const described = serviceOf(image);
  const connection = await shop.connect();
  const held = new Promise(() => undefined);
  await startWorker(described, { order: () => held } as never, connection, { concurrency: 1 });
  const client = await shop.client(described);
  const exporter = await start(["--descriptors", image], { NATS_URL: shop.server.url });
  await client.order.submit({ text: "x" });
  await expect.poll(async () => calls(await exporter.scrape())).toMatchObject({ running: 1 });
  // It takes no other call: nobody asks the queue for one.
  const workers = `jetrpc_method_workers{${service},method="Order",delivery="durable"}`;
  expect((await exporter.scrape()).get(workers)).toBe(1);
  await connection.close();
  await expect
    .poll(async () => calls(await exporter.scrape()))
    .toMatchObject({ queued: 0, running: 0, retrying: 1 });
  expect((await exporter.scrape()).get(workers)).toBe(0);
});

test("where workers may not be asked, a call that is held runs, and nobody is told to be missing", async () => {
  const image = shop.project.image({});
  const described = serviceOf(image);
  const users = `{ user: root, password: x }, { user: watch, password: x, permissions: { publish: { deny: "$SRV.>" } } }`;
  await using server = await startNats({ config: `authorization { users: [${users}] }` });
  const urlOf = (user: string) => server.url.replace("://", `://${user}:x@`);
  const root = await connect({ nats: { servers: server.url, user: "root", pass: "x" } });
  onTestFinished(() => root.close());
  const held = new Promise(() => undefined);
  await startWorker(described, { order: () => held } as never, root, { concurrency: 1 });
  await createClient<ShopClient>(described, root).order.submit({ text: "x" });
  const exporter = await start(["--descriptors", image], { NATS_URL: urlOf("watch") });
  await expect.poll(async () => calls(await exporter.scrape())).toMatchObject({ running: 1 });
  const page = await exporter.scrape();
  expect(calls(page)).toMatchObject({ queued: 0, running: 1, retrying: 0 });
  expect([...page.keys()].filter((name) => name.startsWith("jetrpc_method_workers"))).toEqual([]);
  expect([...page.keys()].join()).toContain('part="workers shop.v1.ShopService",code="permission');
});

test("totals do not fall when a queue is made again", async () => {
  const image = shop.project.image({});
  const described = serviceOf(image);
  await shop.worker(described, { order: () => ({}) });
  const client = await shop.client(described);
  const exporter = await start(["--descriptors", image], { NATS_URL: shop.server.url });
  const totals = async () => {
    const page = await exporter.scrape();
    const deliveries = page.get(`jetrpc_deliveries_total{${service},method="Order"}`);
    return [deliveries, page.get(`jetrpc_requests_stored_total{${service}}`)];
  };
  await (await client.order.submit({ text: "x" })).result();
  await (await client.order.submit({ text: "x" })).result();
  await expect.poll(totals).toEqual([2, 2]);
  await shop.api("STREAM.DELETE.SHOP");
  await expect.poll(totals).toEqual([2, 2]);
});

test("a request whose headers cannot be read has an age, as others", async () => {
  const image = shop.project.image({});
  await shop.run(image, "apply");
  const { nats } = await shop.connect();
  const exporter = await start(["--descriptors", image], { NATS_URL: shop.server.url });
  await exporter.scrape();
  const queue = "shop.v1.ShopService.queue.Order";
  await storeRaw(nats, `${queue}._._.odd`, "NATS/1.0\r\nbad name: x\r\n\r\n");
  const page = await exporter.scrape();
  expect(calls(page)).toMatchObject({ queued: 1 });
  expect(page.get(`jetrpc_queue_oldest_age_seconds{${service},method="Order"}`)).toBeGreaterThan(0);
  expect([...page.keys()].filter((name) => name.startsWith("jetrpc_scrape_errors"))).toEqual([]);
  expect(exporter.said()).toBe("");
});

test("an answer whose headers cannot be read is passed over", async () => {
  const image = shop.project.image({});
  await shop.worker(serviceOf(image), { price: () => ({}) }, { version: "1.2.3" });
  const { nats } = await shop.connect();
  const headers = rawHeaders("NATS/1.0\r\nbad name: x\r\n\r\n");
  nats.subscribe("$SRV.>", {
    callback: (_, message) => {
      message.respond("", { headers });
    },
  });
  await nats.flush();
  const exporter = await start(["--descriptors", image], { NATS_URL: shop.server.url });
  for (const page of [await exporter.scrape(), await exporter.scrape()]) {
    expect(page.get(`jetrpc_workers{${service},version="1.2.3"}`)).toBe(1);
  }
  expect(exporter.said()).toBe("");
});

test("dead letters are counted without what their handlers threw", async () => {
  const image = shop.project.image({ order: "max_attempts: 1" });
  const described = serviceOf(image);
  await shop.worker(described, {
    order: () => {
      throw new Error("broken");
    },
  });
  const client = await shop.client(described);
  const lost = await Promise.all([1, 2].map(() => client.order.submit({ text: "x" })));
  await Promise.allSettled(lost.map((call) => call.result()));
  const exporter = await start(["--descriptors", image], { NATS_URL: shop.server.url });
  const stored = `jetrpc_dead_letters_stored_total{${service}}`;
  const page = await exporter.scrape();
  expect(calls(page)).toMatchObject({ dead: 2 });
  expect(page.get(stored)).toBe(4);
  // Those that have gone were there.
  await shop.api("STREAM.PURGE.SHOP_DEAD");
  const after = await exporter.scrape();
  expect(calls(after)).toMatchObject({ dead: 0 });
  expect(after.get(stored)).toBe(4);
});

test("a schema that the server or a worker has otherwise is told", async () => {
  const old = shop.project.image({});
  const next = shop.project.image({
    service: "result_retention: {seconds: 60}",
    order: "ack_wait: {seconds: 20}",
    methods: "rpc Refund(Request) returns (stream Response);",
  });
  const older = serviceOf(
    shop.project.image({ methods: "rpc Refund(Request) returns (Response);" }),
  );
  await shop.worker(older, { refund: () => ({}), order: () => ({}) });
  const page = await (await start(["--descriptors", next], { NATS_URL: shop.server.url })).scrape();
  // Two streams lose what is old, and a consumer is changed in place.
  expect(page.get(`jetrpc_schema_drift{${service},kind="destructive"}`)).toBe(2);
  expect(page.get(`jetrpc_schema_drift{${service},kind="change"}`)).toBe(1);
  expect(page.get(`jetrpc_method_schema_mismatches{${service},method="Refund"}`)).toBe(1);
  expect(page.get(`jetrpc_method_workers{${service},method="Refund",delivery="durable"}`)).toBe(0);
  expect(page.get(`jetrpc_workers_of_other_schema{${service}}`)).toBe(0);
  const oldest = await (
    await start(["--descriptors", old], { NATS_URL: shop.server.url })
  ).scrape();
  expect(oldest.get(`jetrpc_workers_of_other_schema{${service}}`)).toBe(1);
});

/** A server with an observer, and others who do the work. */
async function withUsers(): Promise<{
  server: NatsServer;
  env: Record<string, string>;
  image: string;
}> {
  const image = shop.project.image({});
  const keys = join(shop.project.folder, "keys");
  mkdirSync(keys, { recursive: true });
  const users = {
    JETRPC: {
      admin: [{ role: "administrator" }],
      watch: [{ role: "observer" }],
      app: [{ role: "client" }],
    },
  };
  shop.project.write("users.json", JSON.stringify(users));
  const file = join(shop.project.folder, "users.json");
  const args = ["permissions", "--descriptors", image, "--users", file, "--keys", keys];
  const config = execFileSync(process.execPath, [bin, ...args], { encoding: "utf8" });
  const server = await startNats({ config });
  onTestFinished(() => server.stop());
  const envOf = (user: string) => ({
    NATS_URL: server.url,
    ...(parseEnv(readFileSync(join(keys, `${user}.env`), "utf8")) as Record<string, string>),
  });
  const apply = [bin, "apply", "--descriptors", image];
  execFileSync(process.execPath, apply, { env: { PATH: process.env["PATH"], ...envOf("admin") } });
  return { server, env: envOf("watch"), image };
}

test("an observer's credentials do: nothing fails, and a bound stands for the age", async () => {
  const { server, env, image } = await withUsers();
  const seed = parseEnv(readFileSync(join(shop.project.folder, "keys/app.env"), "utf8"));
  const { nkeyAuthenticator } = await import("@nats-io/nats-core");
  const app = await connect({
    nats: {
      servers: server.url,
      authenticator: nkeyAuthenticator(new TextEncoder().encode(seed["NATS_NKEY_SEED"])),
    },
    inboxPrefix: seed["NATS_INBOX_PREFIX"],
  });
  onTestFinished(() => app.close());
  const exporter = await start(["--descriptors", image], env);
  const age = `jetrpc_queue_oldest_age_seconds{${service},method="Order"}`;
  expect((await exporter.scrape()).get(age)).toBe(0);
  app.nats.publish("shop.v1.ShopService.queue.Order._._.one", "");
  await expect
    .poll(async () => calls(await exporter.scrape()))
    .toMatchObject({ queued: 1, dead: 0 });
  const page = await exporter.scrape();
  expect(page.get(age)).toBeGreaterThan(0);
  expect(exporter.said()).toBe("");
  expect([...page.keys()].filter((name) => name.startsWith("jetrpc_scrape_errors"))).toEqual([]);
});

test("what may not be looked at is an error of its own, and the rest is told", async () => {
  const { env, image } = await withUsers();
  const client = {
    ...env,
    ...parseEnv(readFileSync(join(shop.project.folder, "keys/app.env"), "utf8")),
  };
  const exporter = await start(["--descriptors", image], client as Record<string, string>);
  const page = await exporter.scrape();
  await exporter.scrape();
  expect(page.get("jetrpc_up")).toBe(1);
  const error =
    'jetrpc_scrape_errors_total{part="calls shop.v1.ShopService",code="permission_denied"}';
  expect(page.get(error)).toBe(1);
  // The second one is counted, and not logged again.
  expect((await exporter.scrape()).get(error)).toBe(3);
  const lines = exporter
    .said()
    .split("\n")
    .filter((line) => line.includes("calls shop.v1"));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain("may not publish on $JS.API.STREAM.INFO.SHOP");
});

test("it stays up while the server and its monitoring port are away", async () => {
  const [port, monitor] = (await freePorts(2)) as [number, number];
  const config = `server_name: away\nhttp: "127.0.0.1:${monitor}"\n`;
  const exporter = await start(
    ["--descriptors", shop.project.image({}), "--monitor", `http://127.0.0.1:${monitor}`],
    { NATS_URL: `nats://127.0.0.1:${port}` },
  );
  const up = `jetrpc_monitor_up{monitor="127.0.0.1:${monitor}"}`;
  const state = (page: Page) => [page.get("jetrpc_up"), page.get(up)];
  expect(state(await exporter.scrape())).toEqual([0, 0]);
  expect((await fetch(new URL("/healthz", exporter.url))).status).toBe(200);
  const server = await startNats({ port, config });
  onTestFinished(() => server.stop());
  await expect.poll(async () => state(await exporter.scrape())).toEqual([1, 1]);
  await server.kill();
  const away = await exporter.scrape();
  expect(state(away)).toEqual([0, 0]);
  expect(away.get('gnatsd_healthz_status_value{server_id="away",value="unreachable"}')).toBe(0);
  await server.restart();
  await expect.poll(async () => state(await exporter.scrape())).toEqual([1, 1]);
  expect(exporter.said()).toMatch(/connection: works again/);
  exporter.child.kill("SIGTERM");
  expect((await once(exporter.child, "exit"))[0]).toBe(0);
});

/** Stands between the exporter and the server, and changes what the exporter sends. */
async function startProxy(change: (text: string) => string | undefined): Promise<string> {
  const target = new URL(shop.server.url);
  const proxy = createTcpServer((socket) => {
    const server = connectTcp(Number(target.port), target.hostname);
    for (const each of [socket, server]) {
      each.on("error", () => undefined);
    }
    server.pipe(socket);
    socket.on("data", (data) => {
      const changed = change(data.toString("latin1"));
      if (changed !== undefined) {
        server.write(changed, "latin1");
      }
    });
    socket.on("close", () => server.destroy());
    onTestFinished(() => void socket.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => void proxy.close());
  return `nats://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}

test("what does not answer in the time of the scraper is told as missing, and the rest is given", async () => {
  const image = shop.project.image({ methods: "rpc Refund(Request) returns (Response);" });
  const described = serviceOf(image);
  await shop.worker(described, { price: () => ({}), order: () => ({}), refund: () => ({}) });
  // Somebody takes the questions about one queue, and answers none.
  const deaf = await connect({ nats: { servers: shop.server.url } });
  onTestFinished(() => deaf.close());
  deaf.nats.subscribe("$JX.>", { callback: () => undefined });
  let isHeld = false;
  const url = await startProxy((text) =>
    isHeld
      ? undefined
      : text.replaceAll("$JS.API.CONSUMER.INFO.SHOP.Order", "$JX.API.CONSUMER.INFO.SHOP.Order"),
  );
  const exporter = await start(["--descriptors", image], { NATS_URL: url });
  const scrape = async () => {
    const headers = { "x-prometheus-scrape-timeout-seconds": "3" };
    return read(await (await fetch(exporter.url, { headers })).text());
  };
  const page = await scrape();
  expect(page.get("jetrpc_up")).toBe(1);
  expect(calls(page)).toMatchObject({ queued: undefined, dead: undefined });
  expect(calls(page, "Refund")).toMatchObject({ queued: 0, dead: 0 });
  const missing = `jetrpc_scrape_errors_total{part="calls shop.v1.ShopService",code="`;
  expect([...page.keys()].filter((series) => series.startsWith(missing))).toHaveLength(1);

  isHeld = true;
  const held = await scrape();
  expect(held.get("jetrpc_up")).toBe(0);
  expect(held.get('jetrpc_scrape_errors_total{part="connection",code="deadline_exceeded"}')).toBe(
    1,
  );
});

/** A proxy that loses the questions about the queue of Order, as long as `isLost()`. */
async function startLossyProxy(isLost: () => boolean) {
  const lost = gate();
  const url = await startProxy((text) => {
    const asked = "$JS.API.CONSUMER.INFO.SHOP.Order";
    if (!isLost() || !text.includes(asked)) {
      return text;
    }
    lost.open();
    return text.replaceAll(asked, "$JX.API.CONSUMER.INFO.SHOP.Order");
  });
  const deaf = await connect({ nats: { servers: shop.server.url } });
  onTestFinished(() => deaf.close());
  deaf.nats.subscribe("$JX.>", { callback: () => undefined });
  await deaf.nats.flush();
  return { url, lost: lost.opened };
}

async function scrapeWithin(exporter: Exporter, seconds: number): Promise<Page> {
  const headers = { "x-prometheus-scrape-timeout-seconds": `${seconds}` };
  return read(await (await fetch(exporter.url, { headers })).text());
}

test("a scraper that waits for less time than another one has its answer in that time", async () => {
  const image = shop.project.image({ methods: "rpc Refund(Request) returns (Response);" });
  await shop.worker(serviceOf(image), { price: () => ({}), order: () => ({}), refund: () => ({}) });
  const { url, lost } = await startLossyProxy(() => true);
  const exporter = await start(["--descriptors", image], { NATS_URL: url });
  const patient = scrapeWithin(exporter, 3_599).then(() => "patient", String);
  await lost;
  const hasty = scrapeWithin(exporter, 5);
  expect(await Promise.race([patient, hasty.then(() => "hasty")])).toBe("hasty");
  const page = await hasty;
  expect(page.get("jetrpc_up")).toBe(1);
  expect(calls(page)).toMatchObject({ queued: undefined });
});

test("what one scraper was too hasty for is looked for again for another one, and kept for both", async () => {
  const image = shop.project.image({});
  await shop.worker(serviceOf(image), { price: () => ({}), order: () => ({}) });
  let isLost = true;
  const { url } = await startLossyProxy(() => isLost);
  const exporter = await start(["--descriptors", image, "--interval", "3600"], { NATS_URL: url });
  expect(calls(await scrapeWithin(exporter, 3))).toMatchObject({ queued: undefined });
  isLost = false;
  expect(calls(await scrapeWithin(exporter, 120))).toMatchObject({ queued: 0 });
  expect(calls(await scrapeWithin(exporter, 3))).toMatchObject({ queued: 0 });
});

test("a queue whose leader is being elected is Unavailable, and the rest is given", async () => {
  const image = shop.project.image({ methods: "rpc Refund(Request) returns (Response);" });
  const described = serviceOf(image);
  await shop.worker(described, { price: () => ({}), order: () => ({}), refund: () => ({}) });
  // As a server of a cluster says it.
  const error = {
    code: 503,
    err_code: 10008,
    description: "JetStream system temporarily unavailable",
  };
  const elects = await connect({ nats: { servers: shop.server.url } });
  onTestFinished(() => elects.close());
  elects.nats.subscribe("$JX.>", {
    callback: (_, message) => void message.respond(JSON.stringify({ error })),
  });
  const url = await startProxy((text) =>
    text.replaceAll("$JS.API.CONSUMER.INFO.SHOP.Order", "$JX.API.CONSUMER.INFO.SHOP.Order"),
  );
  const exporter = await start(["--descriptors", image], { NATS_URL: url });
  const page = await exporter.scrape();
  expect(calls(page, "Refund")).toMatchObject({ queued: 0, dead: 0 });
  const failed = `jetrpc_scrape_errors_total{part="calls shop.v1.ShopService",code="unavailable"}`;
  expect(page.get(failed)).toBe(1);
});

test("servers have the names of prometheus-nats-exporter, in both formats, by one collection", async () => {
  const [monitor] = (await freePorts(1)) as [number];
  const config = `server_name: n1\nhttp: "127.0.0.1:${monitor}"\n`;
  await using server = await startNats({ config });
  const root = await connect({ nats: { servers: server.url } });
  await root.nats.request("$JS.API.STREAM.CREATE.S", '{"name":"S","subjects":["s"]}');
  const durable = '{"stream_name":"S","config":{"durable_name":"c","ack_policy":"explicit"}}';
  await root.nats.request("$JS.API.CONSUMER.DURABLE.CREATE.S.c", durable);
  await root.nats.request(
    "$JS.API.CONSUMER.CREATE.S",
    '{"stream_name":"S","config":{"ack_policy":"none"}}',
  );
  await root.close();
  let asked = 0;
  const proxy = createServer(async (request, response) => {
    asked += Number(request.url === "/varz");
    response.end(await (await fetch(`http://127.0.0.1:${monitor}${request.url}`)).text());
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void proxy.close());
  await once(proxy, "listening");
  const { port } = proxy.address() as AddressInfo;
  const exporter = await start(["--interval", "3600", "--monitor", `http://127.0.0.1:${port}`], {
    NATS_URL: server.url,
  });
  const accept = "application/openmetrics-text;version=1.0.0";
  const [plain, open] = (await Promise.all(
    [{}, { accept }].map(async (headers) => await fetch(exporter.url, { headers })),
  )) as [Response, Response];
  expect(plain.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(open.headers.get("content-type")).toMatch(
    /^application\/openmetrics-text; version=1\.0\.0/,
  );
  const text = await plain.text();
  expect(await open.text()).toMatch(/\n# EOF\n$/);
  expect(asked).toBe(1);
  const names = new Set([...read(text).keys()].map((series) => series.replace(/\{.*/, "")));
  for (const name of [
    ..."connections cpu mem in_msgs out_bytes slow_consumers subscriptions start"
      .split(" ")
      .map((each) => `gnatsd_varz_${each}`),
    "gnatsd_varz_jetstream_config_max_storage",
    "gnatsd_varz_jetstream_stats_storage",
    "gnatsd_varz_http_req_stats_varz",
    "gnatsd_varz_server_name",
    "gnatsd_connz_total_pending_bytes",
    "gnatsd_healthz_status",
    "jetstream_server_total_message_bytes",
    "jetstream_account_storage_used",
    "jetstream_stream_total_messages",
    "jetstream_stream_limit_bytes",
    "jetstream_consumer_num_pending",
    "jetstream_consumer_ack_floor_stream_seq",
  ]) {
    expect(names).toContain(name);
  }
  expect(text).toMatch(/^gnatsd_varz_version\{server_id="n1",value="2\./m);
  // A consumer of a reader has another name each time, a secret.
  expect(
    [...text.matchAll(/^jetstream_consumer_num_pending.*consumer_name="(\w+)"/gm)].map(
      ([, name]) => name,
    ),
  ).toEqual(["c"]);
});

test.each([
  [["--listen", "9464"], "--listen 9464 is no address with a port"],
  [["--monitor", "127.0.0.1:8222"], "is no URL of a monitoring port"],
  [["--interval", "soon"], "--interval soon is no time in seconds"],
])("%j is refused", async (args, text) => {
  const outcome = await shop.run(shop.project.image({}), "metrics", ...args);
  expect(outcome).toMatchObject({ code: 2, stderr: expect.stringContaining(text) });
});

test("what is no nats-server is told as down, and costs the others nothing; nor does an odd worker", async () => {
  const image = shop.project.image({});
  const [monitor] = (await freePorts(1)) as [number];
  await using server = await startNats({ config: `http: "127.0.0.1:${monitor}"\n` });
  const answers = ['{"version":5,"server_name":"es"}', "[1]", "<html>", '{"server_id":1}'];
  const odd = await Promise.all(
    answers.map(async (answer) => {
      const page = createServer((_, response) => response.end(answer)).listen(0, "127.0.0.1");
      onTestFinished(() => void page.close());
      await once(page, "listening");
      return `127.0.0.1:${(page.address() as AddressInfo).port}`;
    }),
  );
  const stranger = await connect({ nats: { servers: server.url } });
  onTestFinished(() => stranger.close());
  const described = { metadata: { "jetrpc-service": "shop.v1.ShopService" } };
  stranger.nats.subscribe("$SRV.*.shop_v1_ShopService", {
    callback: (_, message) => {
      message.respond(JSON.stringify({ ...described, endpoints: [null] }));
      message.respond(JSON.stringify({ ...described, version: {} }));
    },
  });
  await stranger.nats.flush();
  const monitors = [...odd, `127.0.0.1:${monitor}`];
  const exporter = await start(
    ["--descriptors", image, ...monitors.flatMap((each) => ["--monitor", `http://${each}`])],
    { NATS_URL: server.url },
  );
  const page = await exporter.scrape();
  expect(monitors.map((each) => page.get(`jetrpc_monitor_up{monitor="${each}"}`))).toEqual([
    ...odd.map(() => 0),
    1,
  ]);
  expect(exporter.said()).toContain("is no monitoring port of a nats-server: look at --monitor");
  expect(exporter.said()).not.toContain("workers shop.v1.ShopService");
  expect(page.has(`jetrpc_method_schema_mismatches{${service},method="Order"}`)).toBe(true);
});

test("two servers behind one proxy, which asks for a password, are told apart; nobody sees the password", async () => {
  const [monitor] = (await freePorts(1)) as [number];
  await using server = await startNats({
    config: `server_name: n1\nhttp: "127.0.0.1:${monitor}"\n`,
  });
  const wanted = `Basic ${Buffer.from("watch:s3cr@t").toString("base64")}`;
  const proxy = createServer(async (request, response) => {
    const [, name, path] = /^(\/n\d)\/(.*)$/.exec(request.url ?? "") ?? [];
    if (request.headers.authorization !== wanted || name !== "/n1") {
      response.writeHead(502).end("nobody is there");
      return;
    }
    response.end(await (await fetch(`http://127.0.0.1:${monitor}/${path}`)).text());
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void proxy.close());
  await once(proxy, "listening");
  const { port } = proxy.address() as AddressInfo;
  const urls = ["/n1", "/n2/"].map((path) => `http://watch:s3cr%40t@127.0.0.1:${port}${path}`);
  const exporter = await start(
    urls.flatMap((url) => ["--monitor", url]),
    { NATS_URL: server.url },
  );
  const page = await exporter.scrape();
  const up = (path: string) => page.get(`jetrpc_monitor_up{monitor="127.0.0.1:${port}${path}"}`);
  expect([up("/n1"), up("/n2")]).toEqual([1, 0]);
  expect(exporter.said()).toContain(`monitor 127.0.0.1:${port}/n2: `);
  expect([...page.keys(), exporter.said()].join()).not.toMatch(/s3cr/);
});

test("--once prints them; its exit code says whether all could be collected", async () => {
  const image = shop.project.image({});
  expect(await shop.run(image, "apply")).toMatchObject({ code: 0 });
  const once = await shop.run(image, "metrics", "--once");
  expect(once, once.stderr).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^jetrpc_up 1$/m),
  });
  const asJson = await shop.run(image, "metrics", "--once", "--json");
  expect(linesOf(asJson)).toContainEqual({
    ...{ name: "jetrpc_queue_paused", type: "gauge", value: 0 },
    labels: { service: "shop.v1.ShopService", method: "Order" },
  });
  const [port] = await freePorts(1);
  const away = await shop.run(image, "metrics", "--once", "--server", `nats://127.0.0.1:${port}`);
  expect(away).toMatchObject({ code: 1, stdout: expect.stringMatching(/^jetrpc_up 0$/m) });
});
