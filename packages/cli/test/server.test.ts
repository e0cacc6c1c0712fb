import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@jetrpc/runtime/node";
import { afterEach, expect, test } from "vitest";
import { freePorts } from "../../testing/src/free-ports.js";
import { findServer } from "../src/dev/dev-server.js";
import { jetrpc } from "./support.js";

const bin = join(import.meta.dirname, "../bin/jetrpc.js");
const folder = mkdtempSync(join(tmpdir(), "jetrpc-server-"));
const started: ChildProcess[] = [];
afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
  }
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a command that runs `jetrpc server`, and resolves with what it prints up to the URL. */
async function start(command: string, ...args: string[]) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  started.push(child);
  let printed = "";
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    printed += chunk;
    const url = /^NATS_URL=(\S+)$/m.exec(printed)?.[1];
    if (url !== undefined) {
      return { child, printed, url };
    }
  }
  throw new Error(`it ended: ${printed}`);
}

test("a server for development says what .env needs, and ends by Ctrl-C", async () => {
  const [port] = await freePorts(1);
  const { child, printed, url } = await start(
    ...[process.execPath, bin, "server", "--port", "0", "--store", folder],
    ...["--websocket", `${port}`],
  );
  expect(printed).toContain(`ws://127.0.0.1:${port}`);
  const connection = await connect({ nats: { servers: url } });
  expect((await connection.nats.request("$JS.API.INFO")).json()).toMatchObject({ streams: 0 });
  expect(existsSync(join(folder, "jetstream"))).toBe(true);
  // The port takes WebSockets, and refuses other requests.
  expect((await fetch(`http://127.0.0.1:${port}`)).ok).toBe(false);
  const taken = await jetrpc(["server", "--port", new URL(url).port]);
  expect(taken).toMatchObject({ code: 1, stderr: expect.stringContaining("is in use") });
  const exit = once(child, "exit");
  const lost = connection.nats.closed();
  child.kill("SIGINT");
  expect(await exit).toEqual([0, null]);
  await expect(connect({ nats: { servers: url } })).rejects.toThrow("answers");
  await connection.close();
  await lost;
});

test.each([
  ["the process that started it", `"$@"; true`],
  // npm lives on when whoever started it is killed.
  ["the process that started npm", `npm_command=exec bash -c '"$@"; true' npm "$@"; true`],
])("a server for development ends with %s", async (_, script) => {
  const args = [process.execPath, bin, "server", "--port", "0"];
  const { child, url } = await start("bash", "-c", script, "bash", ...args);
  const closed = once(child, "close");
  child.kill("SIGKILL");
  // Its output closes when the last process has ended that has it.
  await closed;
  await expect(connect({ nats: { servers: url } })).rejects.toThrow();
});

test("a port that is in use is named, with the option that gives another one", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port: used } = other.address() as AddressInfo;
  const inUse = `jetrpc: port ${used} of 127.0.0.1 is in use: end what listens there, or give another one by`;
  for (const [args, option] of [
    [["--port", `${used}`], "--port"],
    [["--port", "0", "--websocket", `${used}`], "--websocket"],
    [["--port", `${used}`, "--websocket", "0"], "--port"],
  ] as const) {
    const { code, stderr } = await jetrpc(["server", ...args]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: `${inUse} ${option}\n` });
  }
  other.close();
});

test("any free port is one for browsers, too", async () => {
  const args = [bin, "server", "--port", "0", "--websocket", "0"];
  const { printed } = await start(process.execPath, ...args);
  const [, port] = /ws:\/\/127\.0\.0\.1:(\d+)/.exec(printed) ?? [];
  expect(Number(port)).toBeGreaterThan(0);
  expect((await fetch(`http://127.0.0.1:${port}`)).ok).toBe(false);
});

test("a server that does not start says why, and not what it did before", async () => {
  const file = join(folder, "file");
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, "");
  const { code, stderr } = await jetrpc(["server", "--port", "0", "--store", file]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^jetrpc: nats-server does not start: .*storage directory.*\n$/);
});

test.each([
  [["server", "--port", "high"], "--port high is no port: give a number up to 65535"],
  [["server", "--websocket", "65536"], "--websocket 65536 is no port: give a number up to 65535"],
  [["server", "--port", "1e3"], "--port 1e3 is no port: give a number up to 65535"],
  [["console", "--port", "1:80"], "--port 1:80 is no port: give a number up to 65535"],
  [
    ["server", "--port", "8080", "--websocket"],
    "--port and --websocket are both 8080: give one of them another port",
  ],
])("what is no port is refused: %j", async (args, text) => {
  const { code, stderr } = await jetrpc(args);
  expect({ code, stderr }).toEqual({ code: 2, stderr: `jetrpc: ${text}\n` });
});

test("a port that `jetrpc dev` cannot use is named by what gave it", async () => {
  for (const [isGiven, name] of [
    [true, "--server"],
    [false, "NATS_URL"],
  ] as const) {
    const options = { url: "127.0.0.1:99999", isGiven, store: undefined, say: () => {} };
    await expect(findServer(options)).rejects.toThrow(`${name} names the port 99999`);
  }
});
