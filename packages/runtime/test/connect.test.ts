import { writeFileSync } from "node:fs";
import { createServer, connect as dial } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import { Code } from "@jetrpc/runtime";
import { startNats } from "@jetrpc/testing";
import { expect, test } from "vitest";
import { Certificates } from "./certificates.js";
import { useCleanEnvironment } from "./clean-environment.js";
import { OperatorMode } from "./operator-mode.js";
import { useNats } from "./support.js";

const nats = useNats();
const environment = useCleanEnvironment();
const { folder } = environment;

const certificates = new Certificates(folder);
certificates.ca("ca");
certificates.certificate("server", { by: "ca" });
certificates.certificate("by-address", { by: "ca", names: "IP:127.0.0.1" });
certificates.certificate("by-name", { by: "ca", names: "DNS:localhost" });
certificates.certificate("client", { by: "ca", names: "DNS:client" });
certificates.certificate("self-signed");
const pem = (name: string) => certificates.path(name);
const NATS_TLS_CA = pem("ca.crt");

const operator = new OperatorMode();
const user = operator.user();
writeFileSync(join(folder, "user.creds"), user.creds);
writeFileSync(join(folder, "windows.creds"), user.creds.replaceAll("\n", "\r\n"));

const token = `authorization { token: "s3cret" }`;
const password = `authorization { users: [{ user: "a:da", password: "p@ss, 1/2%" }] }`;
const ways: Record<string, [config: string, set: (address: string) => Record<string, string>]> = {
  "a token": [token, (address) => ({ NATS_URL: address, NATS_TOKEN: "s3cret" })],
  "a token in the URL": [token, (address) => ({ NATS_URL: `nats://s3cret@${address}` })],
  "a token in one URL of several": [
    token,
    (address) => ({ NATS_URL: `nats://127.0.0.1:1,nats://s3cret@127.0.0.1:2, ${address}` }),
  ],
  "user and password": [
    password,
    (address) => ({ NATS_URL: address, NATS_USER: "a:da", NATS_PASSWORD: "p@ss, 1/2%" }),
  ],
  "user and password in the URL": [
    password,
    (address) => ({ NATS_URL: `nats://a%3Ada:p%40ss%2C 1%2F2%25@${address}/` }),
  ],
  "a password of digits in the URL": [
    `authorization { users: [{ user: ada, password: "433382940173" }] }`,
    (address) => ({ NATS_URL: `ada:433382940173@${address}` }),
  ],
  "the seed of an nkey": [
    `authorization { users: [{ nkey: ${user.publicKey} }] }`,
    (address) => ({ NATS_URL: address, NATS_NKEY_SEED: `${user.seed}\n` }),
  ],
  "a creds file": [
    operator.config(),
    (address) => ({ NATS_URL: address, NATS_CREDS: join(folder, "user.creds") }),
  ],
  "a creds file with line ends of Windows": [
    operator.config(),
    (address) => ({ NATS_URL: address, NATS_CREDS: join(folder, "windows.creds") }),
  ],
  "TLS, by address": [
    certificates.tls("by-address"),
    (address) => ({ NATS_URL: `tls://${address}`, NATS_TLS_CA }),
  ],
  "TLS, by name": [
    certificates.tls("by-name"),
    (address) => ({ NATS_URL: address.replace("127.0.0.1", "tls://localhost"), NATS_TLS_CA }),
  ],
  "TLS that the server demands, without tls://": [
    certificates.tls("server"),
    (address) => ({ NATS_URL: address, NATS_TLS_CA }),
  ],
  "TLS on one URL of several": [
    certificates.tls("server"),
    (address) => ({ NATS_URL: `tls://127.0.0.1:1,nats://${address}`, NATS_TLS_CA }),
  ],
  "TLS with a self-signed certificate that is trusted": [
    certificates.tls("self-signed"),
    (address) => ({ NATS_URL: `TLS://${address}`, NATS_TLS_CA: pem("self-signed.crt") }),
  ],
  "mTLS and a token": [
    certificates.tls("server", `, ca_file: "${NATS_TLS_CA}", verify: true`) + token,
    (address) => ({
      NATS_URL: address,
      NATS_TOKEN: "s3cret",
      NATS_TLS_CA,
      NATS_TLS_CERT: pem("client.crt"),
      NATS_TLS_KEY: pem("client.key"),
    }),
  ],
};

test.each(Object.entries(ways))("connects with %s", async (_, [config, set]) => {
  await using server = await startNats({ config });
  const variables = set(`127.0.0.1:${server.port}`);
  const connection = await environment.connect(variables);

  const printed = inspect([connection, connection.nats], { depth: 10, showHidden: true });
  const { NATS_NKEY_SEED = user.seed } = variables;
  for (const secret of ["s3cret", "p@ss", "433382940173", NATS_NKEY_SEED, user.jwt]) {
    expect(printed).not.toContain(secret);
  }
  expect(JSON.stringify(connection)).toBe(`{"owner":"_"}`);
});

test("takes one or several URLs, with and without a scheme, and skips what is empty", async () => {
  const address = `127.0.0.1:${nats.server.port}`;
  for (const NATS_URL of [
    nats.server.url,
    address,
    `${address}/`,
    `nats://127.0.0.1:1, ${address} ,`,
    `nats://nowhere.invalid,NATS://localhost:${nats.server.port}`,
  ]) {
    await environment.connect({ NATS_URL });
  }
});

test("takes an IPv6 address", async (context) => {
  const relay = createServer((socket) => {
    const there = dial(nats.server.port, "127.0.0.1");
    for (const each of [socket, there]) {
      each.on("error", () => each.destroy());
    }
    socket.pipe(there).pipe(socket);
  });
  const isThere = await new Promise((resolve) => {
    relay.once("error", () => resolve(false)).listen(0, "::1", () => resolve(true));
  });
  if (!isThere) {
    context.skip("this machine has no IPv6");
  }
  const { port } = relay.address() as { port: number };
  const connection = await environment.connect({ NATS_URL: `nats://[::1]:${port}` });
  expect(connection.nats.getServer()).toBe(`[::1]:${port}`);
  await connection.close();
  relay.close();
});

test("takes what is not in the environment from .env, and leaves the environment alone", async () => {
  await using server = await startNats({ config: token });
  writeFileSync(
    join(folder, ".env"),
    `# ours
export NATS_URL = "127.0.0.1:${server.port}"
NATS_TOKEN='s3cret' # the server's
OTHER = "several
NATS_TOKEN lines"
what is this
JETRPC_OWNER=acme
`,
  );
  const connection = await environment.connect({});
  expect(connection.owner).toBe("acme");
  expect(process.env["NATS_TOKEN"]).toBeUndefined();
  // The environment goes first.
  await expect(environment.connect({ NATS_TOKEN: "wrong" })).rejects.toMatchObject({
    code: Code.Unauthenticated,
  });
  // An environment that is given is all there is.
  const env = { NATS_URL: nats.server.url };
  expect((await environment.connect({ NATS_TOKEN: "wrong" }, { env })).owner).toBe("_");
});

test("an option goes before the environment", async () => {
  await using server = await startNats({ config: token });
  const servers = `nats://s3cret@127.0.0.1:${server.port}`;
  const variables = { NATS_URL: nats.server.url, NATS_USER: "ada", NATS_PASSWORD: "wrong" };
  const options = { servers: `127.0.0.1:${server.port}`, token: "s3cret" };
  const connection = await environment.connect(variables, { nats: options });
  expect(connection.nats.getServer()).toBe(options.servers);
  await environment.connect({ NATS_URL: nats.server.url }, { nats: { servers } });
  await environment.connect({}, { nats: { port: server.port, token: "s3cret" } });
  await expect(
    environment.connect({ NATS_TOKEN: "s3cret" }, { nats: { ...options, token: "wrong" } }),
  ).rejects.toMatchObject({
    code: Code.Unauthenticated,
    rawMessage: expect.stringContaining("connect({ nats })"),
  });
});

test("refuses an impossible owner", async () => {
  await expect(
    environment.connect({ NATS_URL: nats.server.url, JETRPC_OWNER: "a b" }),
  ).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: expect.stringContaining("a b"),
  });
});

test("a connection that is closed says so, without a reason", async () => {
  const connection = await environment.connect({ NATS_URL: nats.server.url });
  await connection.close();
  expect(await connection.closed).toBeUndefined();
});
