import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { jetrpc, jetrpcProcess, useShop } from "./support.js";

const shop = useShop();

test.each([
  ["an unknown command", ["nope"], "unknown command 'nope'"],
  ["help for an unknown command", ["help", "cals"], "unknown command 'cals': see `jetrpc --help`"],
  ["help for an unknown one of calls", ["calls", "help", "lst"], "see `jetrpc calls --help`"],
  ["an unknown command of gateway", ["gateway", "tokn"], "'tokn' of gateway: there is token"],
  ["a filter twice", ["calls", "discard", "--method", "A", "--method", "B"], "--method is given"],
  ["a filter twice", ["dead", "replay", "--owner", "A", "--owner", "B"], "given twice, A and B"],
  ["a command that is not whole", ["pause"], "missing required argument 'method'"],
  ["an exit code without a dry run", ["apply", "--detailed-exitcode"], "--dry-run"],
  ["a time that is none", ["pause", "Order", "--until", "noon"], "is no time"],
  ["a time beyond all calendars", ["pause", "Order", "--until", "99999999999d"], "is no time"],
  ["a year of five digits", ["pause", "Order", "--until", "9999999d"], "is no time"],
  ["a count that is none", ["calls", "follow", "o-1", "--from", "one"], "--from one is no number"],
  [
    "a file that is not there",
    ["queues", "--descriptors", "gone.binpb"],
    "gone.binpb cannot be read",
  ],
])("%s ends with 2 and one line that says what to do", async (_, args, text) => {
  const { code, stdout, stderr } = await jetrpc(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(/^jetrpc: .+\n$/);
  expect(stderr).toContain(text);
});

test.each([
  ["calls", "discard", "--prefix"],
  ["calls", "cancel", "--contains"],
  ["dead", "discard", "--owner"],
  ["apply", "--server"],
  ["calls", "list", "--service"],
])("an empty value, of a variable of a script, is refused: %s %s %s", async (...args) => {
  const { code, stdout, stderr } = await jetrpc([...args, ""]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toBe(`jetrpc: ${args.at(-1)} is empty: give it a value, or leave it out\n`);
});

test.runIf(existsSync("/dev/full"))("an output that cannot be written is a failure", async () => {
  const bin = join(import.meta.dirname, "../bin/jetrpc.js");
  const full = openSync("/dev/full", "w");
  const done = spawnSync(process.execPath, [bin, "completion", "bash"], {
    stdio: ["ignore", full, "pipe"],
    encoding: "utf8",
  });
  closeSync(full);
  expect(done).toMatchObject({ status: 1, stderr: expect.stringContaining("ENOSPC") });
});

test("--json makes a JSON object of what went wrong", async () => {
  for (const [args, text] of [
    [["apply", "--force"], "unknown option '--force'"],
    [["apply"], "no schema: run it where buf.yaml is"],
  ] as const) {
    const outcome = await jetrpc([...args, "--json"]);
    expect(outcome).toMatchObject({ code: 2, stdout: "" });
    expect(JSON.parse(outcome.stderr)).toEqual({
      error: { code: "usage", message: expect.stringContaining(text) },
    });
  }
});

test("a service or a method that the schema lacks ends with 2, and tells what there is", async () => {
  const image = shop.project.image();
  const service = await shop.run(image, "queues", "--service", "shop.v1.Shop");
  expect(service).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("shop.v1.ShopService"),
  });
  const method = await shop.run(image, "pause", "Price");
  expect(method).toMatchObject({
    code: 2,
    stderr: "jetrpc: no durable method is named Price: there are shop.v1.ShopService.Order\n",
  });
});

test.each([
  ["calls show", ["calls", "show", "a b"], 'call id "a b" must be'],
  ["calls follow", ["calls", "follow", "a b"], 'call id "a b" must be'],
  ["calls result", ["calls", "result", "*"], 'call id "*" must be'],
  ["calls cancel", ["calls", "cancel", "a b"], 'call id "a b" must be'],
  ["calls list", ["calls", "list", "--prefix", "a b"], 'call id "a b" must be'],
  ["an owner of calls", ["calls", "list", "--owner", "*"], 'owner "*" must be'],
  ["dead list", ["dead", "list", "a b"], 'call id "a b" must be'],
  ["dead show", ["dead", "show", "a b"], 'call id "a b" must be'],
  ["dead replay", ["dead", "replay", "a b"], 'call id "a b" must be'],
  ["dead discard", ["dead", "discard", "*"], 'call id "*" must be'],
  ["an owner of dead letters", ["dead", "discard", "--owner", "*"], 'owner "*" must be'],
  ["call", ["call", "Order", "--id", "a b"], 'call id "a b" must be'],
  ["an owner of a call", ["call", "Order", "--owner", "a b"], 'owner "a b" must be'],
  ["a priority of none", ["call", "Order", "--priority", "high"], 'has no priority "high"'],
  ["a page of no list", ["calls", "list", "--page", "2"], "the token is not of a list"],
  ["an act that never began", ["calls", "cancel", "--all", "--resume", "2"], "the token is not"],
  ["a pause that is over", ["pause", "Order", "--until", "2001-01-01T00:00:00Z"], "later than now"],
  ["a server of no NATS", ["queues", "--server", "http://localhost"], "write nats://"],
  ["a service of two words", ["queues", "--service", "a b"], "has no service a b"],
  ["a domain of two tokens", ["queues", "--domain", "a.b"], 'JetStream domain "a.b" must be'],
  [
    "a monitoring port of no URL",
    ["doctor", "--monitor", "n1:8222"],
    "--monitor n1:8222 is no URL",
  ],
  [
    "a user of two words",
    ["permissions", "--role", "client", "--name", "a b", "--format", "json"],
    'user "a b"',
  ],
])("what can be nowhere ends with 2, as wrong usage does: %s", async (_, args, text) => {
  const image = shop.project.image();
  await shop.run(image, "apply");
  const { code, stdout, stderr } = await shop.run(image, ...args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(/^jetrpc: .+\n$/);
  expect(stderr).toContain(text);
});

test("without a schema a service or method of no name is refused, and nobody is asked", async () => {
  const env = { NATS_URL: shop.server.url };
  expect(await jetrpc(["calls", "list", "--service", "a b"], { env })).toMatchObject({
    code: 2,
    stderr: "jetrpc: --service a b is no name of a service: write one like pdf.v1.PdfService\n",
  });
  expect((await jetrpc(["call", "a b/C"], { env })).stderr).toContain("no worker answers");
});

test("where nothing is found, and no stream is there, it is said", async () => {
  const image = shop.project.image();
  const absent = "jetrpc: stream SHOP of shop.v1.ShopService is not on this server: ";
  const verbs = [
    ["calls", "list"],
    ["calls", "show", "o-1"],
    ["calls", "cancel", "--all"],
    ["dead", "list"],
    ["dead", "replay", "o-1"],
    ["queues"],
  ];
  for (const verb of verbs) {
    expect((await shop.run(image, ...verb)).stderr).toContain(absent);
  }
  await shop.run(image, "apply");
  for (const verb of verbs) {
    expect((await shop.run(image, ...verb)).stderr).not.toContain(absent);
  }
});

test("options that cannot be are refused with their places", async () => {
  const image = shop.project.image({ service: "replicas: 7", order: "max_attempts: -1" });
  const { code, stderr } = await shop.run(image, "apply");
  expect(code).toBe(2);
  expect(stderr).toBe(`jetrpc: shop/v1/shop.proto:5:48: replicas 7 must be 1 to 5
jetrpc: shop/v1/shop.proto:10:34: max_attempts -1 must be 1 or more
`);
});

test("a folder and an empty file are no image, and it is said", async () => {
  const empty = join(shop.project.folder, "empty.binpb");
  writeFileSync(empty, "");
  for (const [path, text] of [
    [shop.project.folder, "cannot be read: EISDIR"],
    [empty, "empty.binpb is empty: make it anew with `buf build"],
  ] as const) {
    const { code, stderr } = await shop.run(path, "apply");
    expect(code).toBe(2);
    expect(stderr).toContain(text);
  }
});

test("what is no image is refused", async () => {
  const path = join(shop.project.folder, "no-image.binpb");
  writeFileSync(path, "this is no descriptor");
  const { code, stderr } = await shop.run(path, "apply");
  expect(code).toBe(2);
  expect(stderr).toMatch(
    /no-image\.binpb is no complete FileDescriptorSet .+: make it with `buf build/,
  );
});

test("the schema is what buf builds in the folder, or what JETRPC_DESCRIPTORS names", async () => {
  const { folder } = shop.project;
  const env = { NATS_URL: shop.server.url };
  const bin = join(import.meta.dirname, "../../../node_modules/.bin");
  shop.project.writeShop({ methods: "rpc Built(Request) returns (Response);" });
  const PATH = `${bin}:${process.env["PATH"]}`;
  const built = await jetrpcProcess(["apply", "--dry-run"], { cwd: folder, env: { ...env, PATH } });
  expect(built.stdout).toContain("consumer Built of stream SHOP");
  const JETRPC_DESCRIPTORS = shop.project.image({
    methods: "rpc Named(Request) returns (Response);",
  });
  const named = await jetrpc(["apply", "--dry-run"], { env: { ...env, JETRPC_DESCRIPTORS } });
  expect(named.stdout).toContain("consumer Named of stream SHOP");
  shop.project.write("proto/shop/v1/shop.proto", "broken");
  const broken = await jetrpcProcess(["apply"], { cwd: folder, env: { ...env, PATH } });
  expect(broken.code).toBe(2);
  expect(broken.stderr).toMatch(
    /^jetrpc: buf build failed:\njetrpc: proto\/shop\/v1\/shop.proto:1:1/,
  );
});

test("the server is that of a .env file, too", async () => {
  const image = shop.project.image();
  shop.project.write(".env", `NATS_URL=${shop.server.url}\n`);
  const { code } = await jetrpcProcess(["queues", "--descriptors", image], {
    cwd: shop.project.folder,
  });
  expect(code).toBe(0);
});

test("an error about the server names what its address was given by", async () => {
  const image = shop.project.image();
  for (const [server, text] of [
    ["nats://127.0.0.1:1", "start one, or name another in"],
    ["http://127.0.0.1", "URL 1 of 1 has the scheme http://"],
  ] as const) {
    const args = ["queues", "--descriptors", image];
    const byOption = await jetrpc([...args, "--server", server], {
      env: { NATS_URL: shop.server.url },
    });
    const byVariable = await jetrpc(args, { env: { NATS_URL: server } });
    expect(byVariable.stderr).toContain(text);
    expect(byVariable.stderr).toContain("NATS_URL");
    expect(byOption.stderr).toBe(byVariable.stderr.replace("NATS_URL", "--server"));
    expect(byOption.code).toBe(byVariable.code);
  }
});

test("no output holds a secret", async () => {
  const image = shop.project.image();
  const secret = "s3cr3t-of-the-test";
  const url = (server: string) => server.replace("//", `//${secret}@`);
  const outcomes = [];
  for (const [args, env] of [
    [["doctor"], { NATS_URL: shop.server.url, NATS_TOKEN: secret }],
    [["doctor"], { NATS_URL: url(shop.server.url) }],
    [["apply"], { NATS_URL: url("nats://127.0.0.1:1") }],
    [["apply", "--json"], { NATS_URL: "nats://127.0.0.1:1", NATS_TOKEN: secret }],
    [["apply"], { NATS_NKEY_SEED: secret }],
    [["apply", "--server", url(shop.server.url)], {}],
  ] as [string[], Record<string, string>][]) {
    outcomes.push(await jetrpc([...args, "--descriptors", image], { env }));
  }
  expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 1, 1, 2, 2]);
  for (const { stdout, stderr } of outcomes) {
    expect(stdout + stderr).not.toContain(secret);
  }
});
