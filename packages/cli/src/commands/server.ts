import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { NatsServer } from "@jetrpc/testing";
import { Command } from "commander";
import { UsageError } from "../exit-code.js";
import { print, printJson } from "../output.js";

interface Options {
  readonly port: string;
  readonly store?: string;
  readonly websocket?: string | true;
  readonly json?: boolean;
}

/** Where browsers connect when no port is named. */
const websocketPort = "8080";

/** How often it is looked whether parent and server are there, in ms. */
const lookMs = 500;

/** `jetrpc server`: a nats-server for development, on this machine. */
export function serverCommand(): Command {
  return new Command("server")
    .description("run a nats-server on this machine, for development")
    .option("--port <port>", "on 127.0.0.1; 0 for any free one", "4222")
    .option("--store <dir>", "keep there what JetStream stores (default: nothing is kept)")
    .option("--websocket [port]", `let browsers connect, too (default port: ${websocketPort})`)
    .option("--json", "print JSON")
    .action(server);
}

async function server(options: Options): Promise<void> {
  const port = portOf(options.port, "--port");
  const websocket =
    options.websocket === undefined
      ? undefined
      : portOf(options.websocket === true ? websocketPort : options.websocket, "--websocket");
  const callers = findCallers();
  const asked = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => asked.abort());
  }
  const { running, version } = await start(port, websocket, options.store);
  const env = {
    NATS_URL: running.url,
    ...(websocket !== undefined && { websocket: `ws://127.0.0.1:${websocket}` }),
  };
  if (options.json) {
    printJson({ version, pid: running.pid, ...env });
  } else {
    const kept =
      options.store === undefined ? "nothing is kept" : `it keeps ${resolve(options.store)}`;
    print(`nats-server ${version} is running. Ctrl-C ends it; ${kept}.`);
    if (env.websocket !== undefined) {
      print(`Browsers connect to ${env.websocket}.`);
    }
    print("Put into .env:\n");
    print(`NATS_URL=${env.NATS_URL}`);
  }
  // The process that started this one may be killed, and then ends nothing itself.
  while (!asked.signal.aborted && callers.every(isAlive)) {
    if (!isAlive(running.pid)) {
      throw new ConnectError("nats-server has ended by itself", Code.Aborted);
    }
    await delay(lookMs, undefined, asked).catch(() => undefined);
  }
  await running.stop();
}

function portOf(text: string, option: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new UsageError(`${option} ${text} is no port: give a number up to 65535`);
  }
  return port;
}

async function start(
  port: number,
  websocket: number | undefined,
  store: string | undefined,
): Promise<{ running: NatsServer; version: string }> {
  const { findNatsServer, startNats } = await import("@jetrpc/testing").catch((cause) => {
    const text = "`jetrpc server` is for Linux and macOS: run nats-server by its installer here";
    throw new ConnectError(text, Code.Unimplemented, undefined, undefined, cause);
  });
  const { path: binary, version } = await findNatsServer({
    onProgress: (line) => {
      // Where it was looked for in vain is of interest when it is nowhere: the error tells.
      if (!/^(NATS_SERVER_BIN|PATH|cache): /.test(line)) {
        process.stderr.write(`jetrpc: ${line}\n`);
      }
    },
  });
  try {
    const running = await startNats({
      binary,
      port,
      storeDir: store === undefined ? undefined : resolve(store),
      websocket,
    });
    return { running, version };
  } catch (cause) {
    const text = (cause as Error).message;
    const isTaken = /address already in use/.test(text);
    throw new ConnectError(
      isTaken
        ? `port ${port} of 127.0.0.1${websocket === undefined ? "" : ` or ${websocket}`} is in use: end what listens there, or give another one by --port or --websocket`
        : text,
      isTaken ? Code.AlreadyExists : Code.Unavailable,
      undefined,
      undefined,
      cause,
    );
  }
}

/** Its parent; and if that is npm or npx, which outlive their own parent, that parent too. */
function findCallers(): number[] {
  const callers: number[] = [];
  // npm has a shell between.
  const generations = process.env["npm_command"] === undefined ? 1 : 3;
  let pid = process.ppid;
  for (; callers.length < generations && pid > 1; pid = parentOf(pid)) {
    callers.push(pid);
  }
  return callers;
}

/** Parent of a process; 0 when that is not known. */
function parentOf(pid: number): number {
  try {
    if (process.platform === "linux") {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      // Pid, name in parentheses, state, parent: a name may hold anything.
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    }
    return Number(execFileSync("ps", ["-o", "ppid=", "-p", `${pid}`], { encoding: "utf8" }));
  } catch {
    return 0;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // One of another user, as under sudo.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
