import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { connect } from "node:tls";
import { cookieSession } from "@jetrpc/gateway";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { Certificates } from "../../runtime/test/certificates.js";
import { jetrpc, type Running, serviceOf, startJetrpc, useShop } from "./support.js";

const shop = useShop();
const bin = join(import.meta.dirname, "../bin/jetrpc.js");
const running: Running[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((command) => command.end()));
});

/** Starts `jetrpc gateway` as a process of its own. */
function spawnGateway(cwd: string, environment: Record<string, string> = {}, ...more: string[]) {
  const args = [bin, "gateway", "--listen", "127.0.0.1:0", "--json", ...more];
  const child = spawn(process.execPath, args, {
    cwd,
    env: { PATH: process.env["PATH"], NATS_URL: shop.server.url, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exit = once(child, "exit");
  const said = text(child.stderr);
  const url = once(createInterface(child.stdout), "line").then(
    ([line]) => (JSON.parse(line) as { url: string }).url,
  );
  return { child, exit, said, url };
}

/** Runs `jetrpc gateway` with arguments to its end. */
function run(args: readonly string[], environment: Record<string, string> = {}) {
  return jetrpc(["gateway", ...args], { env: { NATS_URL: shop.server.url, ...environment } });
}

function start(...args: string[]) {
  return startWith({}, ...args);
}

async function startWith(environment: Record<string, string>, ...args: string[]) {
  const command = startJetrpc(["gateway", "--listen", "127.0.0.1:0", "--json", ...args], {
    env: { NATS_URL: shop.server.url, ...environment },
  });
  running.push(command);
  const { url } = JSON.parse(await command.stdout.line()) as { url: string };
  return { url, said: () => command.stderr.text };
}

function price(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/shop.v1.ShopService/Price`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: "{}",
  });
}

test("it serves what workers tell, says that anyone may call, and ends at SIGTERM", async () => {
  await shop.worker(serviceOf(shop.project.image()), { price: () => ({}) });
  const { child, exit, said, url } = spawnGateway(tmpdir());
  expect((await price(await url)).status).toBe(200);
  child.kill("SIGTERM");
  expect((await exit)[0]).toBe(0);
  expect(await said).toContain("loopback only");
});

test("it serves the services of an image, to who has a token", async () => {
  await shop.worker(serviceOf(shop.project.image()), { price: () => ({}) });
  const { stdout } = await run(["token", "--owner", "shop", "--json"]);
  const made = JSON.parse(stdout) as { token: string; entry: object };
  const path = join(shop.project.folder, "tokens.json");
  writeFileSync(path, JSON.stringify([made.entry]));
  const { url } = await start("--tokens", path, "--descriptors", shop.project.image());
  expect((await price(url)).status).toBe(401);
  expect((await price(url, { Authorization: `Bearer ${made.token}` })).status).toBe(200);
});

test("a token is for methods of the schema, where one is named: in full, and no other", async () => {
  const image = shop.project.image();
  const token = (...args: string[]) =>
    run(["token", "--owner", "a", "--json", "--descriptors", image, ...args]);
  const made = await token("--method", "Price", "--method", "shop.v1.ShopService");
  expect(JSON.parse(made.stdout).entry.methods).toEqual([
    "shop.v1.ShopService/Price",
    "shop.v1.ShopService",
  ]);
  for (const name of ["shop.v1.ShopService/Nope", "ShopService", "bill.v1.BillService"]) {
    const { code, stdout, stderr } = await token("--method", name);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(`is named ${name}: there are shop.v1.ShopService.Price`);
  }
});

/** A JSON Web Token of ada. */
function signed(secret: string, aud: string): string {
  const part = (json: object) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 60;
  const body = `${part({ alg: "HS256" })}.${part({ sub: "ada", aud, exp })}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

const jwtSecret = "a secret of more than thirty-two bytes";
const sessionSecret = "another secret of more than thirty-two bytes";

test("a .env file has what the environment of the process does not: secrets, and the image", async () => {
  await shop.worker(serviceOf(shop.project.image()), { price: () => ({}) });
  const cwd = mkdtempSync(join(tmpdir(), "jetrpc-env-"));
  onTestFinished(() => rmSync(cwd, { recursive: true }));
  const lines = [
    `JETRPC_GATEWAY_SESSION_SECRETS=${sessionSecret}`,
    `JETRPC_GATEWAY_JWT_SECRET=${sessionSecret}`,
    `JETRPC_DESCRIPTORS=${shop.project.image()}`,
  ];
  writeFileSync(join(cwd, ".env"), lines.join("\n"));
  const service = ["--service", "shop.v1.ShopService"];
  const started = spawnGateway(cwd, { JETRPC_GATEWAY_JWT_SECRET: jwtSecret }, ...service);
  onTestFinished(async () => {
    started.child.kill("SIGTERM");
    await started.exit;
  });
  const url = await started.url;
  expect((await price(url)).status).toBe(401);
  const session = cookieSession({ secrets: [sessionSecret] });
  const Cookie = (await session.create({ owner: "ada" })).split(";", 1)[0] as string;
  expect((await price(url, { Cookie, Origin: url })).status).toBe(200);
  // What the process has wins.
  const Authorization = `Bearer ${signed(jwtSecret, "shop")}`;
  expect((await price(url, { Authorization })).status).toBe(200);
});

test("by the environment it has the secrets of JSON Web Tokens and of sessions, and shows none", async () => {
  await shop.worker(serviceOf(shop.project.image()), { price: () => ({}) });
  const { url, said } = await startWith(
    {
      JETRPC_GATEWAY_JWT_SECRET: jwtSecret,
      JETRPC_GATEWAY_SESSION_SECRETS: `a new secret that is longer than 32 bytes,${sessionSecret}`,
    },
    "--audience",
    "shop",
    "--cors",
    "https://app.example.com",
    "--limit",
    "maxMessageBytes=100",
    "--limit",
    "maxBlobBytes=5000000000",
  );
  expect((await price(url)).status).toBe(401);
  const sign = (aud: string) => signed(jwtSecret, aud);
  expect((await price(url, { Authorization: `Bearer ${sign("shop")}` })).status).toBe(200);
  expect((await price(url, { Authorization: `Bearer ${sign("other")}` })).status).toBe(401);
  const session = cookieSession({ secrets: [sessionSecret] });
  const Cookie = (await session.create({ owner: "ada" })).split(";", 1)[0] as string;
  expect((await price(url, { Cookie, Origin: url })).status).toBe(200);
  expect((await price(url, { Cookie, Origin: "https://evil.example.com" })).status).toBe(403);
  const page = await price(url, { Cookie, Origin: "https://app.example.com" });
  expect(page.status).toBe(200);
  expect(page.headers.get("access-control-allow-credentials")).toBe("true");
  const large = { Authorization: `Bearer ${sign("shop")}`, "Content-Type": "application/json" };
  const refused = await fetch(`${url}/shop.v1.ShopService/Price`, {
    method: "POST",
    headers: large,
    body: JSON.stringify({ item: "x".repeat(200) }),
  });
  expect(refused.status).toBe(429);
  expect(said()).not.toContain("secret");
});

test("with a certificate it speaks https", async () => {
  const files = new Certificates(shop.project.folder);
  files.certificate("own");
  const { url } = await start(
    "--tls-cert",
    files.path("own.crt"),
    "--tls-key",
    files.path("own.key"),
  );
  expect(url).toMatch(/^https:/);
  const socket = connect({
    host: "127.0.0.1",
    port: Number(new URL(url).port),
    ca: readFileSync(files.path("own.crt")),
  });
  await once(socket, "secureConnect");
  socket.destroy();
});

test("a secret that is too short is refused, and not shown", async () => {
  for (const name of ["JETRPC_GATEWAY_JWT_SECRET", "JETRPC_GATEWAY_SESSION_SECRETS"]) {
    const { code, stderr } = await run([], { [name]: "s3cr3t" });
    expect(code).not.toBe(0);
    expect(stderr).toContain("needs 32");
    expect(stderr).not.toContain("s3cr3t");
  }
});

test.each([
  [["--limit", "maxBytes=1"], "there are maxMessageBytes"],
  [["--limit", "toString=1"], "there are maxMessageBytes"],
  [["--limit", "maxMessageBytes"], "give a whole number"],
  [["--limit", "maxMessageBytes=4MiB"], "give a whole number"],
  [["--limit", "maxConnections=-1"], "give a whole number"],
  [["--limit", "headersTimeoutMs=99999999999"], "give a whole number"],
  [["--drain-timeout", "soon"], "give a whole number"],
  [["--cors", "app.example.com"], "is no origin"],
  [["--cors", "https://app.example.com/"], "is no origin"],
  [["--tls-cert", "a.crt"], "give --tls-cert and --tls-key"],
  [["--tls-cert", "none.crt", "--tls-key", "none.key"], "none.crt"],
  [["--listen", "8080"], "no address with a port"],
  [["--listen", "0.0.0.0:0"], "is reached from other machines: say who may call, by --tokens"],
  [["--tokens", "none.json"], "cannot be read"],
  [["token", "--owner", "a b"], "must be 1 to 128 letters"],
  [["token", "--owner", "a", "--method", "a b"], "--method a b is no service and no method"],
  [["token", "--owner", "a", "--method", "/pdf.v1.PdfService/Split"], "is no service"],
  [["token", "--owner", "a", "--method", "pdf.v1.PdfService/*"], "is no service"],
  [["--tokens", "a", "--jwks", "https://example.com"], "not both"],
  [["--issuer", "us"], "give --jwks"],
  [["--service", "shop.v1.ShopService"], "--descriptors"],
])("%j is refused", async (args, why) => {
  const { code, stderr } = await run(args as string[]);
  expect(code).toBe(2);
  expect(stderr).toContain(why);
});

test("a file of tokens with a mistake is refused: it could be a right too much", async () => {
  const path = join(shop.project.folder, "tokens.json");
  const sha256 = "0".repeat(64);
  for (const entry of [
    { sha256, owner: "a", method: ["x"] },
    { sha256 },
    { owner: "a" },
    { sha256, owner: "a b" },
    { sha256, owner: "a", methods: "x" },
    { sha256, owner: "a", methods: ["a b"] },
    "x",
  ]) {
    writeFileSync(path, JSON.stringify([entry]));
    const { code, stderr } = await run(["--tokens", path]);
    expect(code).toBe(2);
    expect(stderr).toContain("is to be a list");
  }
});
