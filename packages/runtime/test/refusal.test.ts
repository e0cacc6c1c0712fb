import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import { Code, ConnectError, createClient, startWorker } from "@jetrpc/runtime";
import { findNatsServer, startNats } from "@jetrpc/testing";
import { errors, nkeys } from "@nats-io/transport-node";
import { assert, expect, test } from "vitest";
import { refusal } from "../src/node/refusal.js";
import type { Settings } from "../src/node/settings.js";
import { Certificates } from "./certificates.js";
import { useCleanEnvironment } from "./clean-environment.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { credsFile, OperatorMode, seedOf } from "./operator-mode.js";
import type { TestClient } from "./support.js";

type Variables = Record<string, string>;

/** A way in which a connection fails. */
interface Failure {
  code: Code;
  /** What the message names. */
  says: string[];
  /** Configuration of a real server, if there is one. */
  config?: string;
  /** Something else that listens. */
  listen?: () => Server;
  /** How long it is waited for. */
  timeoutMs?: number;
  /** nats-server in place of the usual one. */
  binary?: () => Promise<string>;
  /** What is set, and done before. */
  set: (address: string) => Variables;
  /** Fails; without it, to connect does. */
  act?: (connection: Awaited<ReturnType<typeof environment.connect>>) => Promise<unknown>;
}

const environment = useCleanEnvironment();
const { folder } = environment;
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const certificates = new Certificates(folder);
certificates.ca("ca");
certificates.ca("other");
certificates.certificate("server", { by: "ca" });
certificates.certificate("expired", { by: "ca", valid: [2020, 2021] });
certificates.certificate("future", { by: "ca", valid: [2098, 2099] });
certificates.certificate("elsewhere", { by: "ca", names: "DNS:nats.example.com" });
certificates.certificate("localhost", { by: "ca", names: "DNS:localhost" });
certificates.certificate("self-signed");
certificates.certificate("client", { by: "ca", names: "DNS:client" });
certificates.certificate("stranger", { by: "other", names: "DNS:client" });
certificates.certificate("old-client", { by: "ca", names: "DNS:client", valid: [2020, 2021] });
const pem = (name: string) => certificates.path(name);
const NATS_TLS_CA = pem("ca.crt");
const shows = (name: string) => ({
  NATS_TLS_CERT: pem(`${name}.crt`),
  NATS_TLS_KEY: pem(`${name}.key`),
});
const mutual = certificates.tls("server", `, ca_file: "${NATS_TLS_CA}", verify: true`);

const operator = new OperatorMode();
const user = operator.user();
const revoked = operator.user();
const expired = operator.user({ expiresAt: 1_600_000_000 });
const creds = (name: string, text: string) => ({ NATS_CREDS: file(name, text) });

const byToken = `authorization { token: "right" }`;
const byUser = `authorization { users: [{ user: ada, password: "right" }] }`;
const token = "sentinel-token";
const password = "sentinel-password";
const at = (NATS_URL: string, more: Variables = {}) => ({ NATS_URL, ...more });

const failures: Record<string, Failure> = {
  // Settings.
  "several kinds of credentials": {
    code: Code.InvalidArgument,
    says: ["NATS_TOKEN and NATS_USER", "keep one"],
    set: (address) => at(address, { NATS_TOKEN: token, NATS_USER: "ada" }),
  },
  "credentials in a variable and in the URL": {
    code: Code.InvalidArgument,
    says: ["NATS_TOKEN and credentials in NATS_URL", "keep one"],
    set: (address) => at(`ada:${password}@${address}`, { NATS_TOKEN: token }),
  },
  "different credentials in several URLs": {
    code: Code.InvalidArgument,
    says: ["NATS_URL", "different credentials"],
    set: (address) => at(`nats://ada:${password}@${address},nats://bob:x@${address}`),
  },
  "a password without a user": {
    code: Code.InvalidArgument,
    says: ["NATS_PASSWORD", "NATS_USER"],
    set: (address) => at(address, { NATS_PASSWORD: password }),
  },
  "a URL that cannot be read": {
    code: Code.InvalidArgument,
    says: ["NATS_URL, URL 2 of 2", "nats://host:port"],
    set: (address) => at(`${address}, nats://ada:${password}/x@:port`),
  },
  "a URL of another scheme": {
    code: Code.InvalidArgument,
    says: ["NATS_URL", "http://"],
    set: (address) => at(`http://ada:${password}@${address}`),
  },
  "a WebSocket's URL": {
    code: Code.InvalidArgument,
    says: ["NATS_URL", "createConnection", "wsconnect"],
    set: (address) => at(`wss://ada:${password}@${address}`),
  },
  "a malformed line in .env": {
    code: Code.InvalidArgument,
    says: [".env, line 2", "NATS_TOKEN"],
    set: (address) => {
      file(".env", `OTHER=1\nNATS_TOKEN ${token}\n`);
      return at(address);
    },
  },
  "open quotes in .env": {
    code: Code.InvalidArgument,
    says: [".env, line 1", "NATS_TOKEN", "quotes"],
    set: (address) => {
      file(".env", `NATS_TOKEN="${token}\n`);
      return at(address);
    },
  },
  ".env is no text file": {
    code: Code.InvalidArgument,
    says: [join(folder, ".env"), "cannot be read"],
    set: (address) => {
      mkdirSync(join(folder, ".env"));
      return at(address);
    },
  },
  "an impossible inbox prefix": {
    code: Code.InvalidArgument,
    says: ['"_INBOX.*"', "NATS_INBOX_PREFIX", "wildcards"],
    set: (address) => at(address, { NATS_INBOX_PREFIX: "_INBOX.*" }),
  },
  "an impossible owner": {
    code: Code.InvalidArgument,
    says: ['"a.b"', "JETRPC_OWNER"],
    set: (address) => at(address, { JETRPC_OWNER: "a.b" }),
  },
  "a malformed seed": {
    code: Code.InvalidArgument,
    says: ["NATS_NKEY_SEED", "SU"],
    set: (address) => at(address, { NATS_NKEY_SEED: user.seed.slice(0, -4) }),
  },
  "a seed of another kind": {
    code: Code.InvalidArgument,
    says: ["NATS_NKEY_SEED", "user"],
    set: (address) => at(address, { NATS_NKEY_SEED: seedOf(nkeys.createAccount()) }),
  },
  "an unreadable creds file": {
    code: Code.InvalidArgument,
    says: ["NATS_CREDS", "/nowhere/a.creds"],
    set: (address) => at(address, { NATS_CREDS: "/nowhere/a.creds" }),
  },
  "a malformed creds file": {
    code: Code.InvalidArgument,
    says: ["NATS_CREDS", "half.creds"],
    set: (address) => at(address, creds("half.creds", user.creds.slice(0, -120))),
  },
  "a creds file with another user's seed": {
    code: Code.InvalidArgument,
    says: ["NATS_CREDS", "mixed.creds", "seed"],
    set: (address) => at(address, creds("mixed.creds", credsFile(user.jwt, revoked.seed))),
  },
  "a certificate without a key": {
    code: Code.InvalidArgument,
    says: ["NATS_TLS_CERT", "NATS_TLS_KEY"],
    set: (address) => at(address, { NATS_TLS_CERT: pem("client.crt") }),
  },
  "an unreadable PEM file": {
    code: Code.InvalidArgument,
    says: ["NATS_TLS_CA", "/nowhere/ca.crt"],
    set: (address) => at(address, { NATS_TLS_CA: "/nowhere/ca.crt" }),
  },
  "a malformed certificate": {
    code: Code.InvalidArgument,
    says: ["NATS_TLS_CA", "client.key"],
    set: (address) => at(address, { NATS_TLS_CA: pem("client.key") }),
  },
  "a malformed key": {
    code: Code.InvalidArgument,
    says: ["NATS_TLS_KEY", "cut.key"],
    set: (address) =>
      at(address, {
        ...shows("client"),
        NATS_TLS_KEY: file("cut.key", readFileSync(pem("client.key"), "utf8").slice(0, 120)),
      }),
  },
  "a key of another certificate": {
    code: Code.InvalidArgument,
    says: ["stranger.key", "NATS_TLS_KEY", "client.crt"],
    set: (address) => at(address, { ...shows("client"), NATS_TLS_KEY: pem("stranger.key") }),
  },

  // The server.
  "no server": {
    code: Code.Unavailable,
    says: ["127.0.0.1:1", "NATS_URL"],
    set: () => at(`nats://ada:${password}@127.0.0.1:1`),
  },
  "no server, of several": {
    code: Code.Unavailable,
    says: ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"],
    set: () => at(`nats://ada:${password}@127.0.0.1:1,127.0.0.1:2,nats://[::1]:3`),
  },
  "one of several refuses, one is not there": {
    code: Code.Unauthenticated,
    says: ["127.0.0.1:1", "NATS_TOKEN"],
    config: byToken,
    set: (address) => at(`127.0.0.1:1,${address}`, { NATS_TOKEN: token }),
  },
  "a name that does not resolve": {
    code: Code.Unavailable,
    says: ["nowhere.invalid:4222", "does not resolve"],
    set: () => at(`nats://${token}@nowhere.invalid`),
  },
  "a server that says nothing": {
    code: Code.Unavailable,
    says: ["does not greet"],
    listen: () => createServer(),
    timeoutMs: 300,
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "an HTTP server": {
    code: Code.Unavailable,
    says: ["does not greet"],
    listen: () => createHttpServer(),
    timeoutMs: 300,
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "another server": {
    code: Code.Unavailable,
    says: ["is no NATS server"],
    listen: () => createServer((socket) => void socket.write("220 mail.example.com ESMTP\r\n")),
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "a server that hangs up": {
    code: Code.Unavailable,
    says: ["hung up", "max_connections"],
    listen: () => createServer((socket) => void socket.end()),
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "a server that got the credentials too late": {
    code: Code.Unavailable,
    says: ["too late", "authorization.timeout"],
    listen: () => createServer(impatientServer),
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "a server that is too old": {
    code: Code.FailedPrecondition,
    says: ["2.9.10", "2.12"],
    listen: () => createServer(oldServer),
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "a server that takes small messages only": {
    code: Code.FailedPrecondition,
    says: ["max_payload", "1024", "16384", "127.0.0.1"],
    config: "max_payload: 1024",
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "JetStream is disabled": {
    code: Code.FailedPrecondition,
    says: ["JetStream is disabled", "127.0.0.1"],
    binary: withoutJetStream,
    set: (address) => at(address, { NATS_TOKEN: token }),
    act: (connection) => startWorker(TestService, { do: () => ({}) }, connection),
  },
  "the account has no JetStream": {
    code: Code.FailedPrecondition,
    says: ["enable JetStream", "account"],
    config: `accounts { A: { users: [{ user: ada, password: "${password}" }] } }`,
    set: (address) => at(address, { NATS_USER: "ada", NATS_PASSWORD: password }),
    act: (connection) => createClient<TestClient>(TestService, connection).do.submit({}),
  },

  // Credentials.
  "no credentials": {
    code: Code.Unauthenticated,
    says: ["without credentials", "NATS_TOKEN", "NATS_CREDS"],
    config: byToken,
    set: (address) => at(address),
  },
  "a wrong token": {
    code: Code.Unauthenticated,
    says: ["NATS_TOKEN"],
    config: byToken,
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "a wrong token in the URL": {
    code: Code.Unauthenticated,
    says: ["the credentials in NATS_URL"],
    config: byToken,
    set: (address) => at(`nats://${token}@${address}`),
  },
  "a wrong user": {
    code: Code.Unauthenticated,
    says: ["eve", "NATS_PASSWORD"],
    config: byUser,
    set: (address) => at(address, { NATS_USER: "eve", NATS_PASSWORD: password }),
  },
  "a wrong password": {
    code: Code.Unauthenticated,
    says: ["ada", "NATS_PASSWORD"],
    config: byUser,
    set: (address) => at(address, { NATS_USER: "ada", NATS_PASSWORD: password }),
  },
  "a wrong password in the URL": {
    code: Code.Unauthenticated,
    says: ["the credentials in NATS_URL"],
    config: byUser,
    set: (address) => at(`nats://ada:${password}%40@${address}`),
  },
  "an unknown nkey": {
    code: Code.Unauthenticated,
    says: [user.publicKey, "NATS_NKEY_SEED"],
    config: `authorization { users: [{ nkey: ${revoked.publicKey} }] }`,
    set: (address) => at(address, { NATS_NKEY_SEED: user.seed }),
  },
  "a JWT of another account": {
    code: Code.Unauthenticated,
    says: ["foreign.creds", "NATS_CREDS"],
    config: operator.config(),
    set: (address) => at(address, creds("foreign.creds", new OperatorMode().user().creds)),
  },
  "an expired JWT": {
    code: Code.Unauthenticated,
    says: ["expired.creds", "expired on 2020-09-13"],
    config: operator.config(),
    set: (address) => at(address, creds("expired.creds", expired.creds)),
  },
  "a revoked JWT": {
    code: Code.Unauthenticated,
    says: ["revoked.creds", "NATS_CREDS"],
    config: operator.config([revoked.publicKey]),
    set: (address) => at(address, creds("revoked.creds", revoked.creds)),
  },

  // TLS.
  "the server offers no TLS": {
    code: Code.FailedPrecondition,
    says: ["offers no TLS", "nats://"],
    config: "",
    set: (address) => at(`tls://${token}@${address}`),
  },
  "one URL of several demands TLS, and none is offered": {
    code: Code.FailedPrecondition,
    says: ["offers no TLS"],
    config: "",
    set: (address) => at(`nats://${address}, tls://localhost:${address.split(":")[1]}`),
  },
  "the server demands TLS, and NATS_TLS_CA is not set": {
    code: Code.Unauthenticated,
    says: ["not trusted here", "NATS_TLS_CA"],
    config: certificates.tls("server"),
    set: (address) => at(address, { NATS_TOKEN: token }),
  },
  "a wrong CA": {
    code: Code.Unauthenticated,
    says: ["not trusted here", "NATS_TLS_CA"],
    config: certificates.tls("server"),
    set: (address) => at(address, { NATS_TLS_CA: pem("other.crt"), NATS_TOKEN: token }),
  },
  "a self-signed certificate": {
    code: Code.Unauthenticated,
    says: ["self-signed", "NATS_TLS_CA"],
    config: certificates.tls("self-signed"),
    set: (address) => at(address, { NATS_TLS_CA }),
  },
  "an expired certificate": {
    code: Code.Unauthenticated,
    says: ["has expired"],
    config: certificates.tls("expired"),
    set: (address) => at(address, { NATS_TLS_CA }),
  },
  "a certificate that is not valid yet": {
    code: Code.Unauthenticated,
    says: ["not valid yet"],
    config: certificates.tls("future"),
    set: (address) => at(address, { NATS_TLS_CA }),
  },
  "a certificate of another host": {
    code: Code.Unauthenticated,
    says: ["for another host", "NATS_URL"],
    config: certificates.tls("elsewhere"),
    set: (address) => at(address, { NATS_TLS_CA }),
  },
  "a certificate for localhost, and the server's IP address": {
    code: Code.Unauthenticated,
    says: ["for another host", "NATS_URL"],
    config: certificates.tls("localhost"),
    set: (address) => at(address, { NATS_TLS_CA }),
  },
  "no client certificate": {
    code: Code.Unauthenticated,
    says: ["asks for a client's certificate", "NATS_TLS_CERT and NATS_TLS_KEY"],
    config: mutual,
    set: (address) => at(address, { NATS_TLS_CA }),
  },
  "a client certificate of another CA": {
    code: Code.Unauthenticated,
    says: ["refuses the certificate", "NATS_TLS_CERT"],
    config: mutual,
    set: (address) => at(address, { NATS_TLS_CA, ...shows("stranger") }),
  },
  "an expired client certificate": {
    code: Code.Unauthenticated,
    says: ["refuses the certificate", "NATS_TLS_CERT"],
    config: mutual,
    set: (address) => at(address, { NATS_TLS_CA, ...shows("old-client") }),
  },
};

test.each(Object.entries(failures))("%s", async (_, failure) => {
  const { code, says, config, listen, timeoutMs, binary, set, act } = failure;
  await using server =
    config !== undefined || binary
      ? await startNats({ config: config ?? "", ...(binary && { binary: await binary() }) })
      : undefined;
  const other = listen?.();
  await new Promise<void>((resolve) => other?.listen(0, "127.0.0.1", resolve) ?? resolve());
  const port = server?.port ?? (other?.address() as { port: number } | undefined)?.port ?? 1;
  const variables = set(`127.0.0.1:${port}`);

  const error = await environment
    .connect(variables, { nats: { ...(timeoutMs && { timeout: timeoutMs }) } })
    .then(act)
    .catch((e) => e as ConnectError);
  other?.close();
  assert.instanceOf(error, ConnectError);
  expect(error).toMatchObject({ code });
  for (const each of says) {
    expect(error.rawMessage).toContain(each);
  }
  expectNoSecrets(error, variables);
});

test("the documentation has a row for each failure, and no other", () => {
  const page = join(import.meta.dirname, "../../../docs/configuration.md");
  const section = readFileSync(page, "utf8").split("## When it fails")[1]?.split("\n## ")[0] ?? "";
  const rows = section.matchAll(/^\| (.+?) \| `(\w+)` \|/gm);
  expect(Array.from(rows, ([, name, code]) => [name?.replaceAll("`", ""), code])).toEqual(
    Object.entries(failures).map(([name, { code }]) => [name, Code[code]]),
  );
});

/** What an error shows when it is printed, in whatever way. */
function expectNoSecrets(error: ConnectError, variables: Variables): void {
  const printed = `${inspect(error, { depth: 10, showHidden: true })}${error.stack}${JSON.stringify(error)}`;
  for (const secret of secretsOf(variables)) {
    expect(printed).not.toContain(secret);
  }
}

function secretsOf({ NATS_NKEY_SEED, NATS_TLS_KEY, NATS_CREDS }: Variables): string[] {
  const lines = [NATS_TLS_KEY, NATS_CREDS].flatMap((path) =>
    path && !path.startsWith("/nowhere") ? readFileSync(path, "utf8").split("\n") : [],
  );
  const inFiles = lines.filter((line) => /^[\w+/=.-]{20,}$/.test(line) && !line.startsWith("--"));
  return [token, password, ...(NATS_NKEY_SEED ? [NATS_NKEY_SEED] : []), ...inFiles];
}

/** Debian 12's own, as far as a client can tell before it sends a message. */
function oldServer(socket: Socket): void {
  greet(socket, "2.9.10", () => socket.write("PONG\r\n"));
}

function impatientServer(socket: Socket): void {
  greet(socket, "2.15.1", () => socket.end("-ERR 'Authentication Timeout'\r\n"));
}

function greet(socket: Socket, version: string, answer: () => void): void {
  const info = { version, headers: true, max_payload: 1_048_576, proto: 1 };
  socket.write(`INFO ${JSON.stringify(info)}\r\n`);
  socket.on("data", (data) => data.includes("PING") && answer());
  socket.on("error", () => undefined);
}

/** A nats-server that is not told to have JetStream. */
async function withoutJetStream(): Promise<string> {
  const { path } = await findNatsServer();
  mkdirSync(join(folder, "real"));
  symlinkSync(path, join(folder, "real/nats-server"));
  // The first arguments are --jetstream --store_dir <folder>.
  const script = `#!/bin/sh\nshift 3\nexec "${folder}/real/nats-server" "$@"\n`;
  writeFileSync(join(folder, "nats-server"), script, { mode: 0o755 });
  return join(folder, "nats-server");
}

test("servers that the program names are not said to be in NATS_URL", async () => {
  for (const [servers, text] of [
    ["127.0.0.1:1", "start one, or name another in servers"],
    ["nowhere.invalid", "correct servers"],
  ] as const) {
    await expect(environment.connect({}, { nats: { servers } })).rejects.toMatchObject({
      rawMessage: expect.stringContaining(text),
    });
  }
});

test("the monitoring port is named", () => {
  const settings = { source: "NATS_URL" } as Settings;
  const { code, rawMessage } = refusal(
    settings,
    "nats.example.com:8222",
    new errors.TimeoutError(),
  );
  expect({ code, rawMessage }).toEqual({
    code: Code.Unavailable,
    rawMessage: expect.stringMatching(/:8222 is the monitoring port .+ 4222 by default$/),
  });
});
