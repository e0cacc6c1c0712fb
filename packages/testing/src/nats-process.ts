import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { basename, join } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

/** How long a server may take to answer its first client, in ms. */
const startLimitMs = 30_000;

/** How long a server may take to end before it is killed, in ms. */
const stopLimitMs = 10_000;

/** The same when its clients have to move to another server first. */
const lameDuckLimitMs = 120_000;

/**
 * Becomes the server, having left behind a watcher that reads from this
 * process. While this process lives the watcher waits. When the pipe ends
 * without a word, this process is gone, however it went: the watcher kills the
 * server and removes its folder.
 */
const launcher = `
directory=$1; shift
(
  read -r _ <&3 && exit
  kill -9 $$
  for attempt in 1 2 3 4 5; do rm -rf "$directory" && break; sleep 0.1; done
) &
exec 3<&-
exec "$@"
`;

/** The binary, the configuration and the files of a {@link NatsProcess}. */
export interface NatsProcessOptions {
  /** Path of nats-server. */
  readonly binary: string;
  /** Its arguments, without the address and the port. */
  readonly args: readonly string[];
  /** 0 for any free one. */
  readonly port: number;
  /** For the server's log and notes; removed if this process dies before the server. */
  readonly directory: string;
}

/** A running nats-server, which ends when this process does. */
export class NatsProcess {
  private constructor(
    private readonly child: ChildProcess,
    private readonly ended: Promise<string>,
    readonly url: string,
    /** Of its HTTP monitoring, when the arguments ask for it. */
    readonly monitorUrl: string | undefined,
    /** For WebSockets, when the configuration asks for it. */
    readonly websocketUrl: string | undefined,
  ) {}

  get pid(): number {
    return this.child.pid as number;
  }

  /**
   * Starts a server on 127.0.0.1 and waits until it greets a client. Rejects
   * with the end of the server's log when it does not.
   */
  static async start(options: NatsProcessOptions): Promise<NatsProcess> {
    const { binary, args, directory } = options;
    const log = openSync(logFile(directory), "a");
    // A session of its own, so that Ctrl-C reaches this process alone, which decides.
    const child = spawn(
      "/bin/sh",
      ["-c", launcher, "nats-server", directory, binary, ...args]
        .concat(["--addr", "127.0.0.1", "--port", String(options.port || -1)])
        .concat(["--ports_file_dir", directory]),
      { stdio: ["ignore", log, log, "pipe"], detached: true },
    );
    closeSync(log);
    const ended = endOf(child);
    const stopped = new AbortController();
    try {
      const portsFile = join(directory, `${basename(binary)}_${child.pid}.ports`);
      const { nats, monitoring, websocket } = await Promise.race([
        greeted(portsFile, stopped.signal),
        ended.then((how) => {
          throw new Error(`nats-server ended at its start (${how})`);
        }),
        delay(startLimitMs, undefined, { signal: stopped.signal }).then(() => {
          throw new Error(`nats-server did not answer within ${startLimitMs / 1000} s`);
        }),
      ]);
      return new NatsProcess(child, ended, nats[0], monitoring?.[0], websocket?.[0]);
    } catch (error) {
      child.kill("SIGKILL");
      await ended;
      throw new Error(`${(error as Error).message}:\n${await logTail(directory)}`, {
        cause: error,
      });
    } finally {
      stopped.abort();
    }
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Sends a signal, unless the server has ended already. */
  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends the server and waits until it has ended: by SIGTERM, and by SIGKILL if it does not heed that. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.signal(signal);
    // A suspended process heeds nothing else but SIGKILL.
    this.signal("SIGCONT");
    const limitMs = signal === "SIGUSR2" ? lameDuckLimitMs : stopLimitMs;
    const timer = setTimeout(() => this.signal("SIGKILL"), limitMs);
    await this.ended;
    clearTimeout(timer);
  }
}

/** Where the server in a folder writes its log. */
export function logFile(directory: string): string {
  return join(directory, "nats-server.log");
}

/** Resolves when the process has ended, with how it ended. */
async function endOf(child: ChildProcess): Promise<string> {
  const watcher = child.stdio[3] as Writable;
  // The watcher may be gone before the word reaches it.
  watcher.on("error", () => {});
  const [code, signal] = await once(child, "exit");
  // Nothing is left to watch: see the launcher.
  watcher.end("\n");
  return signal ?? `exit code ${code}`;
}

/** The ports, as nats-server writes them for --ports_file_dir. */
interface Ports {
  readonly nats: [string];
  readonly monitoring?: [string];
  readonly websocket?: [string];
}

/** Resolves with the server's URLs when it has greeted a client. */
async function greeted(portsFile: string, signal: AbortSignal): Promise<Ports> {
  for (;;) {
    const ports = await readPorts(portsFile);
    if (ports && (await greets(ports.nats[0]))) {
      return ports;
    }
    // Nothing on every system tells when the file is there. It takes a server some 5 ms.
    await delay(5, undefined, { signal });
  }
}

/** Undefined while the file is not or half written. */
async function readPorts(portsFile: string): Promise<Ports | undefined> {
  try {
    return JSON.parse(await readFile(portsFile, "utf8"));
  } catch {
    return undefined;
  }
}

/** True when the server sends a client its INFO. */
async function greets(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  try {
    const [data] = await once(socket, "data");
    return data.toString("latin1").startsWith("INFO ");
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function logTail(directory: string): Promise<string> {
  const log = await readFile(logFile(directory), "utf8");
  return log.trimEnd().split("\n").slice(-20).join("\n");
}
