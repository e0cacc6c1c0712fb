import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import { Command } from "commander";
import { askedToEnd } from "../asked-to-end.js";
import { findCallers, isAlive } from "../callers.js";
import { startServer } from "../development-server.js";
import { UsageError } from "../exit-code.js";
import { portOf } from "../listen-address.js";
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
    .option("--port <port>", "on 127.0.0.1; 0 for any free one", "4222")
    .option("--store <dir>", "keep there what JetStream stores (default: nothing is kept)")
    .option(
      "--websocket [port]",
      `let browsers connect, too (default port: ${websocketPort}; 0 for any)`,
    )
    .option("--json", "print JSON")
    .action(server);
}

async function server(options: Options): Promise<void> {
  const port = portOf(options.port, "--port");
  const websocket =
    options.websocket === undefined
      ? undefined
      : portOf(options.websocket === true ? websocketPort : options.websocket, "--websocket");
  if (port !== 0 && port === websocket) {
    throw new UsageError(`--port and --websocket are both ${port}: give one of them another port`);
  }
  const callers = findCallers();
  const asked = askedToEnd();
  const { running, version } = await startServer({
    port,
    websocket,
    store: options.store,
    report: (line) => process.stderr.write(`jetrpc: ${line}\n`),
    otherPort: (which) => `give another one by ${which === websocket ? "--websocket" : "--port"}`,
  });
  const env = {
    NATS_URL: running.url,
    ...(running.websocketUrl !== undefined && { websocket: running.websocketUrl }),
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
  while (!asked.aborted && callers.every(isAlive)) {
    if (!isAlive(running.pid)) {
      throw new ConnectError("nats-server has ended by itself", Code.Aborted);
    }
    await delay(lookMs, undefined, { signal: asked }).catch(() => undefined);
  }
  await running.stop();
}
