import { once } from "node:events";
import { rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { type Grant, permissionsOf } from "@jetrpc/runtime/operator";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { freePorts } from "../../testing/src/free-ports.js";
import { jetrpc, jetrpcProcess, linesOf, serviceOf, useShop } from "./support.js";

const shop = useShop();

/** The findings that are not as they should be; a note says what the doctor could not look at. */
async function complaints(image: string, env: Record<string, string>, ...args: string[]) {
  const outcome = await jetrpc(["doctor", "--json", "--descriptors", image, ...args], { env });
  const findings = linesOf(outcome).filter(({ level }) => level !== "ok" && level !== "note");
  for (const { mend } of findings) {
    expect(mend).toMatch(/./);
  }
  return { code: outcome.code, findings };
}

const here = (server = shop.server) => ({ NATS_URL: server.url });

test("a healthy server has no findings", async () => {
  const image = shop.project.image();
  await shop.run(image, "apply");
  const { code, stdout, stderr } = await shop.run(image, "doctor");
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ok {7}nats-server 2\.\d+\.\d+\n/);
  expect(stdout).toContain("ok       shop.v1.ShopService: the server is as the schema says\n");
  expect(stdout).toContain("ok       this machine's clock agrees with the server's\n");
  expect(stdout).toContain(
    "do for the client, the worker, the administrator, the operator, the observer\n",
  );
  expect(stdout).toContain("note     these credentials cannot see how often the disk is synced\n");
  expect(stdout).toMatch(/errors: 0, warnings: 0\n$/);
});

test("what it tries has no effect", async () => {
  const image = shop.project.image();
  const service = serviceOf(image);
  await shop.run(image, "apply");
  let runs = 0;
  await shop.worker(service, {
    order: () => ({ text: `${++runs}` }),
    price: () => ({ text: `${++runs}` }),
  });
  const client = await shop.client(service);
  await client.order({});
  await vi.waitUntil(async () => (await state()).pending === 0, { timeout: 120_000 });
  const before = await state();
  expect(await complaints(image, here())).toEqual({ code: 0, findings: [] });
  expect(await state()).toEqual(before);
  expect(await client.order({})).toMatchObject({ text: "2" });
});

/** How much is stored, and where the consumers are. */
async function state() {
  const streams = await Promise.all(
    ["SHOP", "SHOP_LOG", "SHOP_DEAD", "SHOP_LATER", "OBJ_SHOP_PAYLOAD"].map(
      async (name) => (await shop.api(`STREAM.INFO.${name}`))["state"],
    ),
  );
  const consumer = await shop.api("CONSUMER.INFO.SHOP.Order");
  return { streams, delivered: consumer["delivered"], pending: consumer["num_ack_pending"] };
}

test("what is absent is a warning, what differs an error", async () => {
  const image = shop.project.image();
  expect(await complaints(image, here())).toMatchObject({
    code: 0,
    findings: [{ level: "warning", title: expect.stringContaining("lacks stream SHOP, stream") }],
  });
  await shop.run(image, "apply");
  const changed = shop.project.image({ order: "ack_wait: {seconds: 30}" });
  expect(await complaints(changed, here())).toMatchObject({
    code: 1,
    findings: [
      {
        level: "error",
        title:
          "shop.v1.ShopService: consumer Order of stream SHOP differs from the schema: ack_wait: 15s -> 30s",
        mend: "run `jetrpc apply`; workers of this schema do not start before",
      },
    ],
  });
});

test("more copies than servers are an error", async () => {
  const { code, findings } = await complaints(
    shop.project.image({ service: "replicas: 3" }),
    here(),
  );
  expect(code).toBe(1);
  expect(findings).toContainEqual({
    level: "error",
    title: "shop.v1.ShopService: the schema wants 3 copies, and this server is in no cluster",
    mend: "connect to a cluster, or set replicas: 1",
  });
});

test("a clock that differs is a warning, and one for all services", async () => {
  shop.project.write(
    "proto/depot/v1/depot.proto",
    `syntax = "proto3";
package depot.v1;
service DepotService {
  rpc Store(Item) returns (Item);
}
message Item {}
`,
  );
  const image = shop.project.image({ methods: "rpc Pack(Request) returns (Response);" });
  rmSync(join(shop.project.folder, "proto/depot"), { recursive: true });
  await shop.run(image, "apply");
  const NODE_OPTIONS = `--import=${join(import.meta.dirname, "clock-behind.mjs")}`;
  const outcome = await jetrpcProcess(["doctor", "--json", "--descriptors", image], {
    env: { ...here(), NODE_OPTIONS },
  });
  expect(outcome.code).toBe(0);
  expect(linesOf(outcome).filter(({ level }) => level === "warning")).toMatchObject([
    {
      title: expect.stringMatching(/^this machine's clock is (59|60)\d\.\d s behind the server's$/),
    },
  ]);
});

test("without a schema the server alone is looked at", async () => {
  const { code, stdout } = await jetrpc(["doctor"], { env: here() });
  expect(code).toBe(0);
  expect(stdout).toContain("warning  no schema: the server alone is checked");
  expect(stdout).toContain("ok       JetStream answers");
});

test.each([
  ["2m", "warning", "syncs its disk every 120 s"],
  ["always", "ok", "syncs its disk before it acknowledges"],
])("a server with sync_interval %s is seen at its monitoring port", async (sync, level, title) => {
  const [port] = await freePorts(1);
  const config = `http: "127.0.0.1:${port}"\njetstream { sync_interval: "${sync}" }`;
  await using server = await startNats({ config });
  const outcome = await jetrpc(["doctor", "--json", "--monitor", `http://127.0.0.1:${port}`], {
    env: here(server),
  });
  expect(linesOf(outcome)).toContainEqual(
    expect.objectContaining({ level, title: expect.stringContaining(title) }),
  );
});

test("a monitoring port that does not answer is an error that names no secret", async () => {
  const [port] = await freePorts(1);
  const outcome = await jetrpc(
    ["doctor", "--json", "--monitor", `http://u:secret@127.0.0.1:${port}`],
    {
      env: here(),
    },
  );
  expect(outcome.code).toBe(1);
  expect(linesOf(outcome)).toContainEqual({
    level: "error",
    title: expect.stringMatching(
      `^the monitoring port at 127.0.0.1:${port} does not answer /varz: `,
    ),
    mend: "give the URL of http_port: http://127.0.0.1:8222",
  });
});

test("the system account sees how often disks are synced", async () => {
  const users = "users: [{ user: sys, password: p }]";
  const config = `system_account: SYS
    accounts { SYS { ${users} }, A { jetstream: enabled, users: [{ user: a, password: p }] } }`;
  await using server = await startNats({ config });
  const env = { ...here(server), NATS_USER: "sys", NATS_PASSWORD: "p" };
  const outcome = await jetrpc(["doctor", "--json"], { env });
  expect(linesOf(outcome)).toContainEqual(
    expect.objectContaining({
      level: "warning",
      title: expect.stringContaining("syncs its disk every 120 s"),
    }),
  );
});

test("no server, and one that is too old, are errors that say what to do", async () => {
  const old = createServer((socket) => {
    const info = { server_id: "old", version: "2.10.0", proto: 1, max_payload: 1_048_576 };
    socket.write(`INFO ${JSON.stringify({ ...info, headers: true })}\r\n`);
    socket.on("data", (data) => String(data).includes("PING") && socket.write("PONG\r\n"));
    socket.on("error", () => socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(old, "listening");
  const image = shop.project.image();
  const { port } = old.address() as AddressInfo;
  expect(await complaints(image, { NATS_URL: `nats://127.0.0.1:${port}` })).toMatchObject({
    code: 1,
    findings: [{ level: "error", title: expect.stringContaining("2.10.0 is too old") }],
  });
  old.close();
  await once(old, "close");
  expect(await complaints(image, { NATS_URL: `nats://127.0.0.1:${port}` })).toMatchObject({
    code: 1,
    findings: [{ level: "error", title: expect.stringContaining("no NATS server answers") }],
  });
});

describe("on a server with accounts", () => {
  let server: NatsServer;

  beforeAll(async () => {
    server = await startNats({
      config: `
        max_payload: 32KB
        accounts {
          PLAIN { users: [{ user: plain, password: p }] }
          FULL {
            jetstream: { max_streams: 6, max_consumers: 100, max_file: 1GB, max_memory: 1MB }
            users: [
              { user: admin, password: p }
              ${userOf("app", { role: "client" })}
              ${userOf("orderer", { role: "client", methods: ["Order"] })}
              ${userOf("pricer", { role: "worker", methods: ["Price"] })}
              ${userOf("operator", { role: "operator" })}
              ${userOf("observer", { role: "observer" })}
              { user: nobody, password: p, permissions: { publish: { deny: ">" } } }
            ]
          }
        }`,
    });
  });
  afterAll(() => server?.stop());

  /** A user with what `jetrpc permissions` writes for a role. */
  function userOf(name: string, grant: Omit<Grant, "service">): string {
    const service = serviceOf(shop.project.image());
    const { publish, subscribe } = permissionsOf({ name, grants: [{ ...grant, service }] });
    const list = (subjects: readonly string[]) => `{ allow: ${JSON.stringify(subjects)} }`;
    return `{ user: ${name}, password: p, permissions: { publish: ${list(publish.allow)}, subscribe: ${list(subscribe.allow)} } }`;
  }

  const as = (user: string) => ({
    ...here(server),
    NATS_USER: user,
    NATS_PASSWORD: "p",
    ...(user !== "admin" && user !== "plain" && { NATS_INBOX_PREFIX: `_INBOX.${user}` }),
  });

  test("an account without JetStream is an error", async () => {
    const { code, findings } = await complaints(shop.project.image(), as("plain"));
    expect(code).toBe(1);
    expect(findings).toContainEqual({
      level: "error",
      title: "JetStream cannot be used: JetStream not enabled for account",
      mend: expect.stringContaining("jetstream: enabled"),
    });
  });

  test("a limit that is used up, and a small max_payload, are found", async () => {
    const image = shop.project.image();
    await jetrpc(["apply", "--descriptors", image], { env: as("admin") });
    const { code, findings } = await complaints(image, as("admin"));
    expect(code).toBe(1);
    expect(findings).toMatchObject([
      { level: "warning", title: expect.stringContaining("max_payload is 32 KiB") },
      { level: "error", title: "streams: 6 of 6 used" },
    ]);
  });

  test("permissions that a role lacks are named", async () => {
    const image = shop.project.image();
    const client = await complaints(image, as("app"), "--role", "client");
    expect(client.code).toBe(0);
    expect(client.findings.map(({ level, title }) => `${level}: ${title}`)).toEqual([
      expect.stringContaining("warning: max_payload"),
      expect.stringContaining("warning: these credentials may not ask about the account"),
      expect.stringContaining("warning: shop.v1.ShopService: not compared with the server"),
    ]);
    const worker = await complaints(image, as("app"), "--role", "worker");
    expect(worker.code).toBe(1);
    const [missing] = worker.findings.filter(({ level }) => level === "error");
    expect(missing?.["title"]).toMatch(
      /^shop\.v1\.ShopService: these credentials are refused what the worker needs: .*to subscribe to shop\.v1\.ShopService\.cancel\.Price.*to publish to \$JS\.API\.CONSUMER\.MSG\.NEXT\.SHOP\.Order/,
    );
    expect(missing?.["title"]).toContain("to subscribe to $SRV.PING.shop_v1_ShopService");
    const nobody = await complaints(image, as("nobody"));
    expect(nobody.code).toBe(1);
    expect(nobody.findings.map(({ title }) => title).join("\n")).toContain("do for nobody");
  });

  test.each([
    ["orderer", ["--role", "client", "--method", "Order"], "ok", "the client of Order"],
    ["orderer", ["--role", "client"], "warning", "the client of Order, and not of Price"],
    [
      "orderer",
      ["--role", "client", "--method", "Price"],
      "error",
      "to publish to shop.v1.ShopService.rpc.Price",
    ],
    ["orderer", [], "ok", "do for the client of Order"],
    ["pricer", ["--role", "worker", "--method", "Price"], "ok", "the worker of Price"],
    ["pricer", ["--role", "administrator"], "error", "$JS.API.STREAM.CREATE.SHOP"],
    ["operator", ["--role", "operator"], "ok", "do for the operator"],
    ["observer", ["--role", "observer"], "ok", "do for the observer"],
    ["observer", [], "ok", "the server is as the schema says"],
    ["observer", [], "note", "may not see the bucket of large payloads"],
    ["observer", ["--role", "operator"], "error", "$JS.API.STREAM.MSG.DELETE.SHOP"],
    ["admin", ["--role", "administrator"], "ok", "do for the administrator"],
  ])("%s, asked about %j: %s", async (user, args, level, title) => {
    const image = shop.project.image();
    const outcome = await jetrpc(["doctor", "--json", "--descriptors", image, ...args], {
      env: as(user),
    });
    expect(linesOf(outcome)).toContainEqual(
      expect.objectContaining({ level, title: expect.stringContaining(title) }),
    );
  });
});
