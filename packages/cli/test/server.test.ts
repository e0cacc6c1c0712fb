import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@jetrpc/runtime/node";
import { afterEach, expect, test } from "vitest";
import { freePorts } from "../../testing/src/free-ports.js";
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

test("what is no port is refused", async () => {
  const { code, stderr } = await jetrpc(["server", "--port", "high"]);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: "jetrpc: --port high is no port: give a number up to 65535\n",
  });
});
