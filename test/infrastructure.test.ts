import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { parseEnv } from "node:util";
import { Code } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { findNatsServer, type NatsServer, startNats } from "@jetrpc/testing";
import { nkeyAuthenticator } from "@nats-io/transport-node";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { freePorts } from "../packages/testing/src/free-ports.js";

// Three servers of a cluster have to find each other.
vi.setConfig({ testTimeout: 180_000 });

const folder = join(import.meta.dirname, "../infrastructure/nats-server");

interface Written {
  readonly config: string;
  readonly secrets: string;
  readonly folder: string;
}

/** What setup.sh writes; it is removed with the test. */
async function written(...options: string[]): Promise<Written> {
  const prefix = mkdtempSync(join(tmpdir(), "jetrpc-config-"));
  onTestFinished(() => rmSync(prefix, { recursive: true, force: true }));
  const [port, monitor] = await freePorts(2);
  const args = ["--prefix", prefix, "--max-disk", "10MB", "--port", `${port}`].concat(
    ["--monitor-port", `${monitor}`],
    options,
  );
  const env = { ...process.env, NATS_SERVER_BIN: (await findNatsServer()).path };
  execFileSync(join(folder, "setup.sh"), args, { env, stdio: "pipe" });
  const written = join(prefix, "etc/jetrpc-nats");
  const read = (name: string) => readFileSync(join(written, name), "utf8");
  return { config: read("nats-server.conf"), secrets: read("secrets.conf"), folder: written };
}

/** Everything but the addresses and the folder, which are the test's own. */
function own({ config, secrets }: Written): string {
  return config
    .replace('include "secrets.conf"', secrets)
    .replace(/^(listen|http):.*$/gm, "")
    .replace(/^\s*store_dir:.*$/m, "");
}

test("the server's configuration works, and asks for its token", async () => {
  const files = await written();
  const token = /^TOKEN: "(.*)"$/m.exec(files.secrets)?.[1] as string;
  await using server = await startNats({ config: own(files) });
  const connection = await connect({ nats: { servers: server.url, token } });
  const account = (await connection.nats.request("$JS.API.INFO")).json();
  expect(account).toMatchObject({ type: "io.nats.jetstream.api.v1.account_info_response" });
  expect(account).not.toHaveProperty("error");
  await connection.close();
  await expect(connect({ nats: { servers: server.url } })).rejects.toMatchObject({
    code: Code.Unauthenticated,
  });
});

describe("what it says", () => {
  test("bounds everything, and tells its state to this machine only", async () => {
    const { config } = await written();
    for (const bound of [
      "max_payload: 1MB",
      "max_connections: 10000",
      "max_pending: 64MB",
      'write_deadline: "10s"',
      "max_memory_store: 256MB",
      "max_file_store: 10MB",
      'lame_duck_duration: "30s"',
      'sync_interval: "2m"',
    ]) {
      expect(config).toContain(bound);
    }
    expect(config).toMatch(/^http: "127\.0\.0\.1:\d+"$/m);
    expect(config).not.toMatch(/@[a-z-]+@|^#[a-z-]+\|/m);
    expect(config).not.toMatch(/websocket|cluster \{|tls \{/);
  });

  test("a cluster syncs always, and its servers ask each other for a password", async () => {
    const routes = "--routes=n1.test,n2.test:7000";
    const { config, secrets } = await written("--cluster=prod", routes);
    expect(config).toContain('sync_interval: "always"');
    expect(config).toContain("authorization { user: route, password: $CLUSTER_PASSWORD }");
    expect(config).toMatch(/ping_interval: "5s"\n\s+ping_max: 2\n/);
    const password = /^CLUSTER_PASSWORD: "(.*)"$/m.exec(secrets)?.[1];
    expect(secrets).toContain(`"nats://route:${password}@n1.test:6222"`);
    expect(secrets).toContain(`"nats://route:${password}@n2.test:7000"`);
    expect(config).not.toContain(password);
  });
});

test("the system account has a password of its own, which is not the clients'", async () => {
  const users = join(mkdtempSync(join(tmpdir(), "jetrpc-users-")), "users.conf");
  onTestFinished(() => rmSync(join(users, ".."), { recursive: true }));
  writeFileSync(users, "authorization { users: [{ user: a, password: b }] }");
  const files = await written("--users", users);
  const config = own(files).replace('include "users.conf"', readFileSync(users, "utf8"));
  const pass = /^SYS_PASSWORD: "(.*)"$/m.exec(files.secrets)?.[1] as string;
  await using server = await startNats({ config });
  const as = (user: string, password: string) =>
    connect({ nats: { servers: server.url, user, pass: password } });

  const system = await as("sys", pass);
  const ping = await system.nats.request("$SYS.REQ.SERVER.PING");
  expect(ping.json()).toHaveProperty("statsz");
  await system.close();
  await expect(as("sys", "b")).rejects.toMatchObject({ code: Code.Unauthenticated });

  const client = await as("a", "b");
  await expect(client.nats.request("$SYS.REQ.SERVER.PING")).rejects.toThrow();
  await client.close();
});

test("takes the accounts that jetrpc permissions writes", async () => {
  const keys = mkdtempSync(join(tmpdir(), "jetrpc-keys-"));
  onTestFinished(() => rmSync(keys, { recursive: true }));
  const who = { JETRPC: { admin: [{ role: "administrator" }] } };
  writeFileSync(join(keys, "users.json"), JSON.stringify(who));
  const jetrpc = join(import.meta.dirname, "../packages/cli/bin/jetrpc.js");
  const args = ["permissions", "--service", "pdf.v1.PdfService", "--keys", keys];
  const accounts = execFileSync(
    process.execPath,
    [jetrpc, ...args, "--users", join(keys, "users.json")],
    { cwd: join(import.meta.dirname, ".."), encoding: "utf8" },
  );
  writeFileSync(join(keys, "accounts.conf"), accounts);
  const files = await written("--users", join(keys, "accounts.conf"));
  const config = own(files).replace('include "users.conf"', accounts);
  await using server = await startNats({ config });
  const { NATS_NKEY_SEED: seed = "" } = parseEnv(readFileSync(join(keys, "admin.env"), "utf8"));
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  const connection = await connect({
    nats: { servers: server.url, authenticator, inboxPrefix: "_INBOX.admin" },
  });
  expect((await connection.nats.request("$JS.API.INFO")).json()).not.toHaveProperty("error");
  await connection.close();
  await expect(connect({ nats: { servers: server.url } })).rejects.toMatchObject({
    code: Code.Unauthenticated,
  });
});

test("three servers that setup.sh set up are a cluster, with TLS among them and to clients", async () => {
  const certificates = mkdtempSync(join(tmpdir(), "jetrpc-certificates-"));
  onTestFinished(() => rmSync(certificates, { recursive: true }));
  const [monitor, ...ports] = (await freePorts(4)) as [number, ...number[]];
  const routes = ports.map((port) => `127.0.0.1:${port}`).join();
  const servers: NatsServer[] = [];
  onTestFinished(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });
  let first: Written | undefined;
  for (const [index, port] of ports.entries()) {
    const name = `n${index + 1}`;
    const make = [certificates, name, "127.0.0.1"];
    execFileSync(join(folder, "certificates.sh"), make, { stdio: "pipe" });
    const files = await written(
      ...["--name", name, "--host", "127.0.0.1", "--listen", "127.0.0.1"],
      ...["--cluster", "prod", "--routes", routes, "--cluster-port", `${port}`],
      ...["--tls-cert", join(certificates, `${name}.pem`)],
      ...["--tls-key", join(certificates, `${name}-key.pem`)],
      ...["--tls-ca", join(certificates, "ca.pem")],
      ...(first ? ["--secrets", join(first.folder, "secrets.conf")] : []),
    );
    first ??= files;
    expect(files.secrets).toBe(first.secrets);
    const http = first === files ? `http: "127.0.0.1:${monitor}"\n` : "";
    servers.push(await startNats({ config: http + own(files) }));
  }
  const token = /^TOKEN: "(.*)"$/m.exec(first?.secrets as string)?.[1] as string;
  const ca = readFileSync(join(certificates, "ca.pem"), "utf8");
  const urls = servers.map(({ url }) => url);
  const connection = await connect({ nats: { servers: urls, token, tls: { ca } } });
  onTestFinished(() => connection.close());
  expect(connection.nats.info).toMatchObject({ cluster: "prod", tls_required: true });
  const create = JSON.stringify({ name: "R3", subjects: ["r3"], num_replicas: 3 });
  const ask = () => connection.nats.request("$JS.API.STREAM.CREATE.R3", create, { timeout: 2_000 });
  const leader = async () =>
    ((await ask()).json() as { cluster: { leader: string } }).cluster.leader;
  await expect.poll(() => leader().catch(String), { timeout: 40_000 }).toMatch(/^n[123]$/);
  // A server that has a certificate is asked for the password next, one without is not heard.
  const read = (name: string) => readFileSync(join(certificates, name), "utf8");
  const server = { cert: read("n1.pem"), key: read("n1-key.pem") };
  for (const port of ports) {
    expect(await firstWords({ port, ca, ...server })).toMatch(/^INFO .*"auth_required":true/);
    expect(await firstWords({ port, ca })).toMatch(/certificate required|closed/);
  }
  // One that hangs is given up: without pings of our own that takes 80 s.
  const routed = async () => {
    const answer = await fetch(`http://127.0.0.1:${monitor}/routez`);
    const { routes } = (await answer.json()) as { routes: { remote_name: string }[] };
    return routes.map(({ remote_name }) => remote_name);
  };
  expect(await routed()).toContain("n3");
  servers[2]?.suspend();
  await expect.poll(routed, { timeout: 60_000 }).not.toContain("n3");
  servers[2]?.resume();
  await expect.poll(routed, { timeout: 60_000 }).toContain("n3");
});

/** What a server says to one that comes to its route port. */
function firstWords(options: ConnectionOptions): Promise<string> {
  const socket = connectTls({ host: "127.0.0.1", servername: "localhost", ...options });
  return new Promise((resolve) => {
    socket.once("data", (data) => {
      resolve(`${data}`);
      socket.destroy();
    });
    socket.once("error", (error) => resolve(error.message));
    socket.once("close", () => resolve("closed"));
  });
}
