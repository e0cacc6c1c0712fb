import { execFileSync, fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { findNatsServer } from "../src/find-nats-server.js";
import { freePorts } from "../src/free-ports.js";
import { type NatsOptions, type NatsServer, startNats } from "../src/start-nats.js";
import { temporaryFolder } from "./temporary-folder.js";

beforeAll(async () => {
  await findNatsServer();
}, 600_000);

async function start(options?: NatsOptions): Promise<NatsServer> {
  const server = await startNats(options);
  onTestFinished(() => server.stop());
  return server;
}

async function client(server: NatsServer, options = {}): Promise<NatsConnection> {
  const nats = await connect({ servers: server.url, reconnect: false, ...options });
  onTestFinished(() => nats.close());
  return nats;
}

/** Letters of `ps`: T is stopped, Z ended but not yet reaped; empty when there is none. */
function state(pid: number): string {
  return spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).stdout.trim();
}

function isRunning(pid: number): boolean {
  return !/^Z?$/.test(state(pid).slice(0, 1));
}

/** Processes that were told of a folder, but for the shell that looks. */
function processesOf(folder: string): string[] {
  return execFileSync("ps", ["-eo", "args"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(folder));
}

test("starts a JetStream server on 127.0.0.1 and removes all of it", async () => {
  const server = await start();
  expect(server.url).toBe(`nats://127.0.0.1:${server.port}`);
  const nats = await client(server);
  const manager = await jetstreamManager(nats);
  await manager.streams.add({ name: "S", subjects: ["s"] });
  expect((await jetstream(nats).publish("s", "x")).seq).toBe(1);
  expect(existsSync(join(server.storeDir, "jetstream"))).toBe(true);
  await nats.close();

  await server.stop();
  expect(isRunning(server.pid)).toBe(false);
  expect(existsSync(dirname(server.logFile))).toBe(false);
  // The watcher ends when it is told that there is nothing left to watch.
  await expect.poll(() => processesOf(dirname(server.logFile))).toEqual([]);
  await server.stop();
});

test("keeps port and store across a crash and a restart", async () => {
  const server = await start();
  const { url, pid } = server;
  let nats = await client(server);
  const manager = await jetstreamManager(nats);
  await manager.streams.add({ name: "S", subjects: ["s"] });
  await jetstream(nats).publish("s", "kept");

  for (const end of [() => server.kill(), () => Promise.resolve()]) {
    await end();
    await server.restart();
    expect(server.url).toBe(url);
    await nats.closed();
    nats = await client(server);
    const stored = await (await jetstreamManager(nats)).streams.getMessage("S", { seq: 1 });
    expect(stored?.string()).toBe("kept");
  }
  expect(server.pid).not.toBe(pid);
  expect(isRunning(pid)).toBe(false);
});

test("takes WebSockets when asked to, at the same port after a restart", async () => {
  expect((await start()).websocketUrl).toBeUndefined();
  const server = await start({ websocket: true });
  const { websocketUrl: url = "" } = server;
  const greets = async () => (await fetch(url.replace("ws:", "http:"))).status;
  // A request that is no WebSocket is refused there.
  expect(await greets()).toBe(400);
  await server.restart();
  expect(server.websocketUrl).toBe(url);
  expect(await greets()).toBe(400);
});

test("uses and keeps a store that it is given", async () => {
  const storeDir = temporaryFolder();
  for (const sequence of [1, 2]) {
    const server = await start({ storeDir });
    expect(server.storeDir).toBe(storeDir);
    const nats = await client(server);
    const manager = await jetstreamManager(nats);
    await manager.streams.add({ name: "S", subjects: ["s"] });
    expect((await jetstream(nats).publish("s")).seq).toBe(sequence);
    await nats.close();
    await server.stop();
  }
  expect(existsSync(join(storeDir, "jetstream"))).toBe(true);
});

test("takes its limits and users from the options", async () => {
  const server = await start({
    maxPayload: 12_345,
    config: 'authorization { token: "secret" }\njetstream { max_file_store: 10MB }',
  });
  await expect(client(server)).rejects.toThrow("Authorization Violation");
  const nats = await client(server, { token: "secret" });
  expect(nats.info?.max_payload).toBe(12_345);
  const manager = await jetstreamManager(nats);
  const tooMuch = manager.streams.add({ name: "S", subjects: ["s"], max_bytes: 20_000_000 });
  await expect(tooMuch).rejects.toThrow("insufficient storage");
});

test("waits long for its clients, unless the configuration says other", async () => {
  const [port] = await freePorts(1);
  const http = `http: "127.0.0.1:${port}"\n`;
  const varz = async () => (await fetch(`http://127.0.0.1:${port}/varz`)).json();
  const patient = await start({ config: http });
  expect(await varz()).toMatchObject({ auth_timeout: 60, write_deadline: 60e9 });
  await patient.stop();
  await start({ config: `${http}authorization { timeout: 1 }\nwrite_deadline: "2s"` });
  expect(await varz()).toMatchObject({ auth_timeout: 1, write_deadline: 2e9 });
});

test("can be suspended, and stopped even then", async () => {
  const server = await start();
  const nats = await client(server);
  server.suspend();
  await expect.poll(() => state(server.pid)).toMatch(/^T/);
  const flushed = nats.flush();
  server.resume();
  await flushed;

  server.suspend();
  await expect.poll(() => state(server.pid)).toMatch(/^T/);
  await nats.close();
  const { pid } = server;
  await server.restart();
  expect(isRunning(pid)).toBe(false);
  // A server that does not heed SIGTERM is killed: then its log does not say this.
  expect(readFileSync(server.logFile, "utf8")).toContain("Server Exiting");
});

test("many at once", async () => {
  const servers = await Promise.all(Array.from({ length: 8 }, () => start()));
  expect(new Set(servers.map((server) => server.port)).size).toBe(8);
  const names = await Promise.all(
    servers.map(async (server) => (await client(server)).info?.server_name),
  );
  expect(new Set(names).size).toBe(8);
});

test("stops at the end of its block", async () => {
  let pid: number;
  {
    await using server = await startNats();
    pid = server.pid;
    expect(isRunning(pid)).toBe(true);
  }
  expect(isRunning(pid)).toBe(false);
});

describe("a server that does not start", () => {
  test("a mistake in the configuration", async () => {
    await expect(startNats({ config: "max_connections: many" })).rejects.toThrow(
      /^nats-server ended at its start \(exit code 1\):\n.*nats-server\.conf:1:0: /s,
    );
  });

  test("a port in use", async () => {
    const listener = createServer();
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    onTestFinished(() => {
      listener.close();
    });
    const { port } = listener.address() as { port: number };
    await expect(startNats({ port })).rejects.toThrow(
      /ended at its start.*address already in use/s,
    );
  });

  test("a binary that is none", async () => {
    await expect(startNats({ binary: "/no/such/nats-server" })).rejects.toThrow(
      /ended at its start \(exit code 127\):\n.*\/no\/such\/nats-server: not found/s,
    );
  });
});

describe("ends with its parent", () => {
  test.each([
    ["killed", [], (parent: ReturnType<typeof fork>) => parent.kill("SIGKILL")],
    ["killed, the server suspended", ["suspend"], (parent) => parent.kill("SIGKILL")],
    ["that exits without stopping it", [], (parent) => parent.send("exit")],
  ] as [string, string[], (parent: ReturnType<typeof fork>) => boolean][])(
    "%s",
    async (_, args, end) => {
      const parent = fork(new URL("fixtures/parent.mjs", import.meta.url), args);
      onTestFinished(() => {
        parent.kill("SIGKILL");
      });
      const [{ pid, logFile }] = await once(parent, "message");
      expect(isRunning(pid)).toBe(true);
      expect(readFileSync(logFile, "utf8")).toContain("Server is ready");

      const exit = once(parent, "exit");
      end(parent);
      await exit;
      await expect.poll(() => isRunning(pid)).toBe(false);
      await expect.poll(() => existsSync(dirname(logFile))).toBe(false);
    },
  );
});
