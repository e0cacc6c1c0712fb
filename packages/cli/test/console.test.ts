import { createHmac } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { clientOf, cookieOf, send } from "../../console/test/support.js";
import { until } from "../../runtime/test/support.js";
import { jetrpc, linesOf, type Running, serviceOf, startJetrpc, useShop } from "./support.js";

const shop = useShop();
const running: Running[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((command) => command.end()));
});

/** Runs `jetrpc console` until it has told its address. */
async function start(args: readonly string[], environment: Record<string, string> = {}) {
  const command = startJetrpc(["console", "--port", "0", "--json", ...args], {
    env: { NATS_URL: shop.server.url, ...environment },
  });
  running.push(command);
  const line = await Promise.race([
    command.stdout.line(),
    command.ended.then(({ stderr }) => {
      throw new Error(stderr);
    }),
  ]);
  const { url, address } = JSON.parse(line) as { url: string; address: string };
  return { command, url, address };
}

test("it serves by an image, logs acts to stderr, and ends when it is asked to, live streams first", async () => {
  const image = shop.project.image();
  await shop.worker(serviceOf(image), { order: () => ({}) });
  const { command, url, address } = await start(["--descriptors", image]);
  const { headers } = await send(address);
  const page = clientOf(url, { cookie: cookieOf(headers) });
  const { services } = await page.getSession({});
  expect(services.map(({ name }) => name)).toEqual(["shop.v1.ShopService"]);
  await page.pauseMethod({ service: "shop.v1.ShopService", method: "Order" });
  expect(command.stderr.text).toContain('"act":"pause","target":"shop.v1.ShopService.Order"');
  const stream = page.watchOverview({})[Symbol.asyncIterator]();
  await stream.next();
  expect((await command.end()).code).toBe(0);
});

test("without a schema workers tell it, also those that start later", async () => {
  const { url, address } = await start([]);
  const { headers } = await send(address);
  const page = clientOf(url, { cookie: cookieOf(headers) });
  const before = await page.getSession({});
  expect(before.services).toEqual([]);
  expect(before.schemaProblem).toContain("no worker answers");
  await shop.worker(serviceOf(shop.project.image()), { order: () => ({}) });
  await until(async () => (await page.getSession({})).services.length === 1);
  expect((await page.getSession({})).schemaProblem).toBe("");
});

test("a token that it makes logs in, with its role", async () => {
  const [made] = linesOf(
    await jetrpc(["console", "token", "--name", "ada", "--role", "act", "--json"]),
  );
  const { token, entry } = made as { token: string; entry: object };
  expect(entry).toMatchObject({ name: "ada", role: "act" });
  const file = join(shop.project.folder, "tokens.json");
  writeFileSync(file, JSON.stringify([entry]));
  const actLog = join(shop.project.folder, "acts.jsonl");
  const { url } = await start(["--tokens", file, "--act-log", actLog]);
  const page = clientOf(url, { authorization: `Bearer ${token}` });
  expect((await page.getSession({})).user).toBe("ada");
  expect(readFileSync(actLog, "utf8")).toBe("");
});

test("claims decide who may act, and who may look", async () => {
  const secret = "a secret of more than thirty-two bytes";
  const { url } = await start(["--act", "realm.roles=admin", "--read", "groups=staff"], {
    JETRPC_CONSOLE_JWT_SECRET: secret,
  });
  const role = async (claims: object) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = Math.floor(Date.now() / 1000) + 300;
    const signed = `${part({ alg: "HS256" })}.${part({ sub: "ada", exp, ...claims })}`;
    const token = `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
    const page = clientOf(url, { authorization: `Bearer ${token}` });
    return await page.getSession({}).then(
      (session) => session.role,
      () => "refused",
    );
  };
  expect(await role({ realm: { roles: ["admin", "x"] } })).toBe(2);
  expect(await role({ groups: ["staff"] })).toBe(1);
  expect(await role({ groups: "staff" })).toBe(1);
  expect(await role({ groups: ["others"] })).toBe("refused");
});

test("what does not go together is refused, with the mend", async () => {
  const env = { NATS_URL: shop.server.url };
  const stderr = async (...args: string[]) => {
    const { code, stderr } = await jetrpc(["console", ...args], { env });
    return `${code} ${stderr}`;
  };
  expect(await stderr("--listen", "0.0.0.0:0")).toMatch(/^2 .*give a login/);
  expect(await stderr("--oidc-issuer", "https://a.example")).toMatch(/^2 .*--oidc-client/);
  expect(await stderr("--act", "groups=a")).toMatch(/^2 .*--oidc-issuer or --jwks/);
  expect(await stderr("--jwks", "https://a.example", "--act", "groups")).toMatch(
    /^2 .*groups=operators/,
  );
  expect(await stderr("--tokens", "/nowhere")).toMatch(/^2 .*cannot be read/);
});
