import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { nkeys } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { useNats } from "./support.js";

const nats = useNats();
const folder = mkdtempSync(join(tmpdir(), "jetrpc-connect-"));
const workingFolder = process.cwd();
const variables = Object.keys(process.env).filter((name) => /^(NATS|JETRPC)_/.test(name));
const before = Object.fromEntries(variables.map((name) => [name, process.env[name]]));

beforeEach(() => {
  for (const name of Object.keys(process.env)) {
    if (/^(NATS|JETRPC)_/.test(name)) {
      delete process.env[name];
    }
  }
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  Object.assign(process.env, before);
  process.chdir(workingFolder);
});

/** Connects with these variables and tells whether a request goes through. */
async function connectWith(environment: Record<string, string>): Promise<void> {
  Object.assign(process.env, environment);
  try {
    const connection = await connect();
    await connection.nats.flush();
    await connection.close();
  } finally {
    for (const name of Object.keys(environment)) {
      delete process.env[name];
    }
  }
}

describe("connect", () => {
  test("takes NATS_URL, one or several", async () => {
    await connectWith({ NATS_URL: nats.server.url });
    await connectWith({ NATS_URL: `nats://127.0.0.1:1, ${nats.server.url}` });
  });

  test("takes what is not in the environment from .env, and leaves the environment alone", async () => {
    writeFileSync(join(folder, ".env"), `NATS_URL=${nats.server.url}\nJETRPC_OWNER=acme\n`);
    process.chdir(folder);
    const connection = await connect();
    expect(connection.owner).toBe("acme");
    await connection.close();
    expect(process.env["NATS_URL"]).toBeUndefined();
    // The environment goes first.
    await expect(connectWith({ NATS_URL: "nats://127.0.0.1:1" })).rejects.toMatchObject({
      code: Code.Unavailable,
    });
  });

  test("takes a token, and says so when it is refused", async () => {
    await using server = await startNats({ config: `authorization { token: "s3cret" }` });
    const NATS_URL = server.url;
    await connectWith({ NATS_URL, NATS_TOKEN: "s3cret" });
    for (const wrong of [{}, { NATS_TOKEN: "wr0ng" }]) {
      const error = await connectWith({ NATS_URL, ...wrong }).catch((e) => e);
      expect(error).toMatchObject({
        code: Code.Unauthenticated,
        rawMessage: expect.stringContaining("NATS_TOKEN"),
      });
      expect(error.message).not.toContain("wr0ng");
    }
  });

  test("takes user and password", async () => {
    await using server = await startNats({
      config: `authorization { users: [{ user: ada, password: "pass" }] }`,
    });
    const NATS_URL = server.url;
    await connectWith({ NATS_URL, NATS_USER: "ada", NATS_PASSWORD: "pass" });
    await expect(
      connectWith({ NATS_URL, NATS_USER: "ada", NATS_PASSWORD: "no" }),
    ).rejects.toMatchObject({ code: Code.Unauthenticated });
  });

  test("takes the seed of an nkey", async () => {
    const user = nkeys.createUser();
    await using server = await startNats({
      config: `authorization { users: [{ nkey: ${user.getPublicKey()} }] }`,
    });
    const seed = (pair: { getSeed(): Uint8Array }) => new TextDecoder().decode(pair.getSeed());
    await connectWith({ NATS_URL: server.url, NATS_NKEY_SEED: seed(user) });
    const stranger = seed(nkeys.createUser());
    const error = await connectWith({ NATS_URL: server.url, NATS_NKEY_SEED: stranger }).catch(
      (e) => e,
    );
    expect(error.code).toBe(Code.Unauthenticated);
    expect(error.message).not.toContain(stranger);
  });

  test.each([
    [{ NATS_TOKEN: "a", NATS_USER: "b" }, "NATS_TOKEN and NATS_USER"],
    [{ NATS_PASSWORD: "a" }, "NATS_USER"],
    [{ NATS_CREDS: "/nowhere" }, "/nowhere"],
    [{ NATS_TLS_CERT: "/nowhere" }, "NATS_TLS_KEY"],
    [{ NATS_TLS_CA: "/nowhere" }, "/nowhere"],
    [{ JETRPC_OWNER: "a b" }, "a b"],
  ])("refuses %o", async (environment, text) => {
    await expect(
      connectWith({ NATS_URL: nats.server.url, ...(environment as object) }),
    ).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining(text),
    });
  });

  test("says which server does not answer, without the secrets in its URL", async () => {
    const error = await connectWith({ NATS_URL: "nats://ada:s3cret@127.0.0.1:1" }).catch((e) => e);
    expect(error).toBeInstanceOf(ConnectError);
    expect(error.code).toBe(Code.Unavailable);
    expect(error.rawMessage).toContain("127.0.0.1:1");
    expect(error.message).not.toContain("s3cret");
    expect(error.cause).toBeDefined();
  });

  test("refuses a server that is too old", async () => {
    // Debian 12's own, as far as a client can tell before it sends a message.
    const old = createServer((socket) => {
      socket.write(
        `INFO ${JSON.stringify({ version: "2.9.10", headers: true, max_payload: 1048576, proto: 1 })}\r\n`,
      );
      socket.on("data", (data) => {
        if (data.includes("PING")) {
          socket.write("PONG\r\n");
        }
      });
      socket.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => old.listen(0, "127.0.0.1", resolve));
    const { port } = old.address() as { port: number };
    await expect(connectWith({ NATS_URL: `nats://127.0.0.1:${port}` })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringMatching(/2\.9\.10.*2\.12/),
    });
    old.close();
  });

  test("refuses a folder in place of a creds file", async () => {
    await expect(
      connectWith({ NATS_URL: nats.server.url, NATS_CREDS: folder }),
    ).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});
