import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, createClient, type DurableUnaryMethod, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { planService } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { nkeyAuthenticator } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { jetrpc, serviceOf, useShop } from "./support.js";

const shop = useShop();

// biome-ignore lint/suspicious/noExplicitAny: a service that was made at run time has no types
type Method = DurableUnaryMethod<any, any>;

test("a server with the users of a file lets them do their work, and nothing else", async () => {
  const image = shop.project.image();
  shop.project.write(
    "users.json",
    JSON.stringify({
      SHOP: {
        admin: [{ role: "administrator" }],
        worker: [{ role: "worker", service: "shop.v1.ShopService" }],
        ada: [{ role: "client", owner: "ada", methods: ["Order"] }],
        old: [{ role: "observer" }],
      },
    }),
  );
  const { folder } = shop.project;
  const keys = join(folder, "keys");
  const run = () =>
    shop.run(image, "permissions", "--users", join(folder, "users.json"), "--keys", keys);
  const { stdout: config } = await run();
  const secret = readFileSync(join(keys, "ada.env"), "utf8").match(/SU\w{50,}/)?.[0] as string;
  expect(config).not.toContain(secret);
  expect(statSync(join(keys, "ada.env")).mode & 0o777).toBe(0o600);
  // The keys stay, so that a change of the schema is no change of secrets.
  expect((await run()).stdout).toBe(config);
  // Observers might not ask for descriptors once.
  const [others, old] = config.split("# old") as [string, string];
  await using server = await startNats({
    config: `${others}${old.replace(/^.*\.describe"\n/m, "")}`,
  });
  const envOf = (name: string): Record<string, string> => {
    const lines = readFileSync(join(keys, `${name}.env`), "utf8")
      .trim()
      .split("\n");
    return Object.fromEntries(lines.map((line) => line.split("=", 2)));
  };
  const as = (name: string) => {
    const env = envOf(name);
    const seed = new TextEncoder().encode(env["NATS_NKEY_SEED"] as string);
    return connect({
      owner: env["JETRPC_OWNER"] ?? "_",
      inboxPrefix: env["NATS_INBOX_PREFIX"] ?? "",
      nats: { servers: server.url, authenticator: nkeyAuthenticator(seed) },
    });
  };
  const service = serviceOf(image, "shop.v1.ShopService");
  const [admin, workers, ada] = [await as("admin"), await as("worker"), await as("ada")];
  await (await planService(admin, service)).apply();
  const worker = await startWorker(
    service,
    { order: () => ({}), price: () => ({}) } as never,
    workers,
  );
  const client = createClient<{ order: Method; price: (request: object) => Promise<unknown> }>(
    service,
    ada,
  );
  await client.order({});
  await expect(client.price({})).rejects.toMatchObject({ code: Code.PermissionDenied });
  const jetrpcAs = (name: string, ...args: string[]) =>
    jetrpc(args, { env: { ...envOf(name), NATS_URL: server.url } });
  const named = await jetrpcAs("ada", "call", "Order", "--service", "shop.v1.ShopService");
  expect(named).toEqual({ code: 0, stdout: "{}\n", stderr: "" });
  for (const [name, args, mend] of [
    ["ada", ["call", "Order"], "others name a service with --service"],
    ["ada", ["call", "ShopService/Order", "--at", "1h", "--descriptors", image], "--may-delay"],
    ["old", ["queues"], "write them anew with `jetrpc permissions`"],
  ] as const) {
    const { code, stderr } = await jetrpcAs(name, ...args);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(mend) });
  }
  await worker.drain();
  await Promise.all([admin, workers, ada].map((each) => each.close()));
});

test.each([
  [[], "give --users FILE, or --role"],
  [["--role", "client"], "--keys FOLDER"],
  [["--role", "client", "--format", "json", "--method", "Nope"], "no method Nope"],
  [["--role", "worker", "--format", "json", "--owner", "ada"], "no use for an owner"],
  [["--users", "gone.json", "--json"], "gone.json cannot be read"],
  [["--role", "worker", "--format", "conf", "--json"], "--json and --format conf"],
  [["--role", "client", "--keys", "/dev/null"], "--keys /dev/null cannot be a folder"],
  [["--role", "client", "--keys", "/proc/a/b"], "--keys /proc/a/b cannot be a folder"],
])("permissions %j says what is missing", async (args, text) => {
  const { stderr, code } = await shop.run(shop.project.image(), "permissions", ...args);
  expect(stderr).toContain(text);
  expect(code).toBe(2);
});

test("a key is read of a file only: a pipe would be waited for", async () => {
  const keys = join(shop.project.folder, "odd-keys");
  mkdirSync(join(keys, "folder.env"), { recursive: true });
  execFileSync("mkfifo", [join(keys, "pipe.env")]);
  for (const name of ["folder", "pipe"]) {
    const args = ["permissions", "--role", "client", "--name", name, "--keys", keys];
    const { code, stderr } = await shop.run(shop.project.image(), ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(`${name}.env has no NATS_NKEY_SEED of a user`);
  }
});

test("a file of users that is none is shown without what a terminal would obey", async () => {
  const path = join(shop.project.folder, "binary.json");
  writeFileSync(path, "\x1b[2J\u009b2J\n");
  const { code, stderr } = await shop.run(
    ...[shop.project.image(), "permissions", "--json", "--users", path],
  );
  expect(code).toBe(2);
  expect(stderr).toContain("binary.json cannot be read as JSON");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what may not be there
  expect(stderr.trimEnd()).not.toMatch(/[\x00-\x1f\x7f-\x9f]/);
});

test("an operator and an observer run the command; what they may not do is said with the role that may", async () => {
  const image = shop.project.image();
  const users = { admin: "administrator", op: "operator", eye: "observer", hand: "worker" };
  shop.project.write(
    "roles.json",
    JSON.stringify({
      SHOP: {
        ...Object.fromEntries(Object.entries(users).map(([name, role]) => [name, [{ role }]])),
        ada: [{ role: "client", service: "shop.v1.ShopService" }],
      },
    }),
  );
  const { folder } = shop.project;
  const keys = join(folder, "role-keys");
  const file = join(folder, "roles.json");
  const { stdout: config } = await shop.run(image, "permissions", "--users", file, "--keys", keys);
  await using server = await startNats({ config });
  const envOf = (name: string) => {
    const lines = readFileSync(join(keys, `${name}.env`), "utf8")
      .trim()
      .split("\n");
    return Object.fromEntries(lines.map((line) => line.split("=", 2)));
  };
  const as = (name: string, ...args: string[]) => {
    const JETRPC_DESCRIPTORS = image;
    return jetrpc(args, { env: { ...envOf(name), NATS_URL: server.url, JETRPC_DESCRIPTORS } });
  };
  expect(await as("admin", "apply")).toMatchObject({ code: 0 });
  const call = await as("ada", "call", "Order", '{"text": "1"}', "--submit", "--id", "o-1");
  expect(call).toEqual({ code: 0, stdout: "o-1\n", stderr: "" });

  expect((await as("op", "calls", "list")).stdout).toMatch(/queued +shop.* o-1 /);
  expect((await as("op", "calls", "show", "o-1")).stdout).toContain('{"text":"1"}');
  expect((await as("op", "top")).stdout).toMatch(/Order +0 +1 /);
  expect((await as("op", "check", "--against", image)).stdout).toMatch(
    /1 queued.*\nsafe to deploy/,
  );
  expect((await as("eye", "services")).stdout).toBe("no worker answers\n");
  expect((await as("eye", "top")).stdout).toMatch(/Order +\? +1 +0 +\?/);
  for (const args of [
    ["calls", "list"],
    ["calls", "show", "o-1", "--method", "Order"],
    ["calls", "cancel", "--all"],
    ["dead", "list"],
    ["pause", "Order"],
  ]) {
    const { code, stderr } = await as("eye", ...args);
    expect({ args, code }).toEqual({ args, code: 1 });
    expect(stderr).toMatch(/operator/);
  }
  for (const args of [
    ["call", "Order", "{}"],
    ["calls", "follow", "o-1"],
    ["calls", "result", "o-1", "--method", "Order"],
    ["calls", "cancel", "o-1"],
  ]) {
    const { code, stderr } = await as("eye", ...args);
    expect({ args, code }).toEqual({ args, code: 1 });
    expect(stderr).toMatch(/with the role client/);
  }
  const check = await as("eye", "check", "--against", image);
  expect(check).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("the operator role may"),
  });
  // A client looks after its own calls.
  expect((await as("ada", "calls", "cancel", "o-1")).stdout).toMatch(/^canceled .* o-1\n$/);

  // Without an image an observer asks a worker for the schema.
  const env = envOf("hand");
  const seed = new TextEncoder().encode(env["NATS_NKEY_SEED"] as string);
  const connection = await connect({
    inboxPrefix: env["NATS_INBOX_PREFIX"] ?? "",
    nats: { servers: server.url, authenticator: nkeyAuthenticator(seed) },
  });
  const service = serviceOf(image, "shop.v1.ShopService");
  await startWorker(service, { order: () => ({}) } as never, connection);
  try {
    const none = { ...envOf("eye"), NATS_URL: server.url };
    const top = await jetrpc(["top", "--once"], { env: none });
    expect(top.stdout).toMatch(/Order +\? +0 +0 +\?/);
  } finally {
    await connection.close();
  }
});

test("methods of one service may be named where there are several", async () => {
  shop.project.write(
    "proto/bill/v1/bill.proto",
    `syntax = "proto3"; package bill.v1;
     import "jetrpc/v1/options.proto";
     service BillService { rpc Pay(Empty) returns (Empty); }
     message Empty {}`,
  );
  const image = shop.project.image({ service: "replicas: 1" });
  rmSync(join(shop.project.folder, "proto/bill"), { recursive: true });
  const users = join(shop.project.folder, "some.json");
  writeFileSync(users, '{"A": {"ada": [{"role": "client", "methods": ["ShopService/Price"]}]}}');
  for (const which of [
    ["--role", "client", "--method", "Price"],
    ["--users", users],
  ]) {
    const written = await shop.run(image, "permissions", "--json", ...which);
    expect(written).toMatchObject({ code: 0, stderr: "" });
    expect(written.stdout).toContain("shop.v1.ShopService.rpc.Price");
    expect(written.stdout).not.toMatch(/BillService|Order/);
  }
  const found = await shop.run(image, "doctor", "--role", "client", "--method", "Price");
  expect(found.stdout).toContain("shop.v1.ShopService: these credentials do for the client of");
  const unknown = await shop.run(image, "doctor", "--role", "client", "--method", "Nope");
  expect(unknown).toMatchObject({ code: 2, stdout: "" });
  expect(unknown.stderr).toContain("there is no method Nope: there are bill.v1.BillService.Pay");
});
