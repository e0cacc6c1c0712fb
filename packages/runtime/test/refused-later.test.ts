import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { inspect } from "node:util";
import {
  Code,
  type Connection,
  createClient,
  createConnection,
  type LogRecord,
  startWorker,
} from "@jetrpc/runtime";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { connect as connectNats } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { Certificates } from "./certificates.js";
import { useCleanEnvironment } from "./clean-environment.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { OperatorMode } from "./operator-mode.js";
import type { TestClient } from "./support.js";

const environment = useCleanEnvironment();
const { folder } = environment;
const token = "sentinel-token";

/** Starts a server whose configuration can be changed. */
async function startChangeable(text: string) {
  const file = join(folder, "changeable.conf");
  writeFileSync(file, text);
  // A path that the server takes relative to its own folder's.
  const server = await startNats({ config: `include "../${basename(folder)}/changeable.conf"` });
  return Object.assign(server, {
    async change(next: string) {
      writeFileSync(file, next);
      process.kill(server.pid, "SIGHUP");
    },
    async comeBack(next: string) {
      writeFileSync(file, next);
      await server.restart();
    },
  });
}

/** A worker that has to end, and a client whose calls have to say why. */
async function expectEnd(connection: Connection, refuse: () => Promise<void>, says: string) {
  const logged: LogRecord[] = [];
  const worker = await startWorker(TestService, { get: () => ({}) }, connection, {
    logger: (record) => logged.push(record),
  });
  const client = createClient<TestClient>(TestService, connection);
  await client.get({});
  const ended = worker.closed.catch((e) => e);
  await refuse();

  const expected = {
    code: Code.Unauthenticated,
    rawMessage: expect.stringContaining(says),
  };
  expect(await ended).toMatchObject(expected);
  expect(await connection.closed).toMatchObject(expected);
  const errors = await Promise.all([
    client.get({}).catch((e) => e),
    client.do({}).catch((e) => e),
    client
      .down({})
      [Symbol.asyncIterator]()
      .next()
      .catch((e) => e),
  ]);
  for (const error of errors) {
    expect(error).toMatchObject(expected);
  }
  expect(logged).toContainEqual(
    expect.objectContaining({ level: "error", error: expect.objectContaining(expected) }),
  );
  const printed = inspect([errors, logged, await ended], { depth: 10, showHidden: true });
  expect(printed).not.toContain(token);
}

const byToken = (value: string) => `authorization { token: "${value}" }`;
const address = (server: NatsServer) => `127.0.0.1:${server.port}`;

test("a token that is changed ends the connection", async () => {
  await using server = await startChangeable(byToken(token));
  const connection = await environment.connect({ NATS_URL: address(server), NATS_TOKEN: token });
  await expectEnd(connection, () => server.change(byToken("other")), "NATS_TOKEN");
});

test("a JWT that is revoked ends the connection", async () => {
  const operator = new OperatorMode();
  const user = operator.user();
  await using server = await startChangeable(operator.config());
  const NATS_CREDS = join(folder, "revoked.creds");
  writeFileSync(NATS_CREDS, user.creds);
  const connection = await environment.connect({ NATS_URL: address(server), NATS_CREDS });
  await expectEnd(connection, () => server.change(operator.config([user.publicKey])), NATS_CREDS);
});

test("a JWT that expires ends the connection, unless its file has a new one", async () => {
  const operator = new OperatorMode();
  await using server = await startNats({ config: operator.config() });
  const NATS_URL = address(server);
  const connectFor = async (name: string, seconds: number): Promise<Connection> => {
    const NATS_CREDS = join(folder, name);
    const expiresAt = Math.ceil(Date.now() / 1_000) + seconds;
    writeFileSync(NATS_CREDS, operator.user({ expiresAt }).creds);
    try {
      return await environment.connect({ NATS_URL, NATS_CREDS });
    } catch (error) {
      // It expired before a busy machine had connected.
      expect(String(error)).toContain("expired");
      return await connectFor(name, seconds * 2);
    }
  };
  const keeps = await connectFor("kept.creds", 4);
  writeFileSync(join(folder, "kept.creds"), operator.user().creds);
  // Late enough for its worker to be there.
  const leaves = await connectFor("left.creds", 8);

  await expectEnd(leaves, async () => {}, "left.creds, which expired");
  await expect(keeps.nats.flush()).resolves.toBeUndefined();
  expect(keeps.nats.isClosed()).toBe(false);
});

test("a server that comes back with a certificate that is not trusted ends the connection", async () => {
  const certificates = new Certificates(folder);
  for (const name of ["ca", "other"]) {
    certificates.ca(name);
    certificates.certificate(`server-of-${name}`, { by: name });
  }
  await using server = await startChangeable(certificates.tls("server-of-ca"));
  const connection = await environment.connect({
    NATS_URL: `tls://${token}@${address(server)}`,
    NATS_TLS_CA: certificates.path("ca.crt"),
  });
  const refuse = () => server.comeBack(certificates.tls("server-of-other"));
  await expectEnd(connection, refuse, "not trusted here");
});

test("a server that is away for a while ends no connection", async () => {
  await using server = await startNats();
  const connection = await environment.connect({ NATS_URL: address(server) });
  await server.kill();
  // Long enough for the reason to be looked for, once and again.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  await server.restart();
  const client = createClient<TestClient>(TestService, connection);
  await client.do.submit({});
  expect(connection.nats.isClosed()).toBe(false);
});

test("a connection that the NATS client gives up tells why", async () => {
  await using server = await startChangeable(byToken(token));
  const nats = await connectNats({ servers: server.url, token, reconnectTimeWait: 10 });
  await expectEnd(createConnection(nats), () => server.change(byToken("other")), "Authorization");
});

test("serve() ends its process, with the reason and an exit code", async () => {
  await using server = await startChangeable(byToken(token));
  const child = spawn(process.execPath, [join(import.meta.dirname, "crash-worker.mjs")], {
    env: { ...process.env, NATS_URL: address(server), NATS_TOKEN: token },
    stdio: "pipe",
  });
  let printed = "";
  for (const output of [child.stdout, child.stderr]) {
    output.on("data", async (data) => {
      printed += data;
      if (printed === "ready\n") {
        await server.change(byToken("other"));
      }
    });
  }
  expect(await new Promise((resolve) => child.on("close", resolve))).toBe(1);
  expect(printed).toContain("NATS_TOKEN");
  expect(printed).toContain("unauthenticated");
  expect(printed).not.toContain(token);
});
