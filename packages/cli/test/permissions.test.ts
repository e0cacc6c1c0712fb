import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Code, createClient, type DurableUnaryMethod, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { planService } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { nkeyAuthenticator } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { serviceOf, useShop } from "./support.js";

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
  await using server = await startNats({ config });
  const as = (name: string) => {
    const lines = readFileSync(join(keys, `${name}.env`), "utf8")
      .trim()
      .split("\n");
    const env = Object.fromEntries(lines.map((line) => line.split("=", 2)));
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
])("permissions %j says what is missing", async (args, text) => {
  const { stderr, code } = await shop.run(shop.project.image(), "permissions", ...args);
  expect(stderr).toContain(text);
  expect(code).not.toBe(0);
});
