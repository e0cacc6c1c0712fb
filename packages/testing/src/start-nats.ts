import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findNatsServer } from "./find-nats-server.js";
import { logFile, NatsProcess } from "./nats-process.js";

/** Options of {@link startNats}. */
export interface NatsOptions {
  /**
   * Text in the language of nats-server.conf, for users, accounts, limits and the like.
   * Without it the server waits 60 s where others wait 2 s for a client to log in
   * (`authorization`) and 10 s for it to read (`write_deadline`).
   */
  config?: string | undefined;
  /** Greatest message in bytes. Default: the server's own, 1 MiB. */
  maxPayload?: number | undefined;
  /** Port on 127.0.0.1. Default: a free one. */
  port?: number | undefined;
  /** Takes WebSockets without TLS as well, on this port of 127.0.0.1, or on a free one. Default: false. */
  websocket?: boolean | number | undefined;
  /** Where JetStream stores; kept when the server stops. Default: a temporary folder. */
  storeDir?: string | undefined;
  /** Path of nats-server. Default: what `findNatsServer()` finds. */
  binary?: string | undefined;
}

/** A signal that ends a nats-server. */
export type StopSignal = "SIGTERM" | "SIGINT" | "SIGUSR2";

/** A nats-server with JetStream, of one's own. */
export interface NatsServer {
  /** For a client to connect to: `nats://127.0.0.1:40123`. */
  readonly url: string;
  /** The same across restarts. */
  readonly port: number;
  /**
   * For `wsconnect()`: `ws://127.0.0.1:40124`, the same across restarts. Undefined without
   * the option `websocket`, unless the configuration has a `websocket` of its own.
   */
  readonly websocketUrl: string | undefined;
  /** Of the running server, or of the last one that ran. */
  readonly pid: number;
  readonly storeDir: string;
  readonly logFile: string;
  /**
   * Ends the server and removes its temporary folder. Waits until that is done.
   *
   * @param signal Default: SIGTERM. SIGUSR2 lets clients move to another server of a
   * cluster first. A server that does not end within 10 s (SIGUSR2: 2 min) is killed.
   */
  stop(signal?: StopSignal): Promise<void>;
  /** Ends the server as a crash does, by SIGKILL. The store stays for `restart()`. */
  kill(): Promise<void>;
  /**
   * Starts the server again, on the same port and store; when it runs it is ended
   * first, by the signal as in `stop()`.
   */
  restart(signal?: StopSignal): Promise<void>;
  /** Makes the server silent without closing a connection, by SIGSTOP, until `resume()`. */
  suspend(): void;
  /** Lets a suspended server go on. */
  resume(): void;
  /** The same as `stop()`: for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a real nats-server with JetStream on 127.0.0.1 and resolves when it
 * answers. It ends with this process, even when that is killed. Works on Linux
 * and macOS.
 *
 * Rejects when no nats-server is found, and, with the end of the server's log,
 * when it does not start (a mistake in the configuration, a port in use).
 */
export function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  return startServer(options);
}

/** The same with further arguments of nats-server. */
export async function startServer(
  options: NatsOptions,
  ...furtherArgs: string[]
): Promise<SingleServer> {
  const binary = options.binary ?? (await findNatsServer()).path;
  const directory = await mkdtemp(join(tmpdir(), "jetrpc-nats-"));
  try {
    const storeDir = options.storeDir ?? join(directory, "store");
    const defaults = join(directory, "defaults.conf");
    const args = ["--jetstream", "--store_dir", storeDir, "--config", defaults, ...furtherArgs];
    await writeFile(join(directory, "nats-server.conf"), options.config ?? "");
    let { websocket } = options;
    const start = async (port: number) => {
      await writeFile(defaults, defaultsOf({ ...options, websocket }));
      const process = await NatsProcess.start({ binary, args, port, directory });
      websocket &&= Number(new URL(process.websocketUrl ?? "").port);
      return process;
    };
    return new SingleServer(await start(options.port ?? 0), start, directory, storeDir);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

export class SingleServer implements NatsServer {
  readonly url: string;
  readonly port: number;
  readonly logFile: string;

  constructor(
    private process: NatsProcess,
    private readonly start: (port: number) => Promise<NatsProcess>,
    private readonly directory: string,
    readonly storeDir: string,
  ) {
    this.url = process.url;
    this.port = Number(new URL(process.url).port);
    this.logFile = logFile(directory);
  }

  get pid(): number {
    return this.process.pid;
  }

  get websocketUrl(): string | undefined {
    return this.process.websocketUrl;
  }

  get monitorUrl(): string | undefined {
    return this.process.monitorUrl;
  }

  get isRunning(): boolean {
    return this.process.isRunning;
  }

  async stop(signal?: StopSignal): Promise<void> {
    await this.process.stop(signal);
    await rm(this.directory, { recursive: true, force: true });
  }

  async kill(): Promise<void> {
    await this.process.stop("SIGKILL");
  }

  async restart(signal?: StopSignal): Promise<void> {
    await this.process.stop(signal);
    this.process = await this.start(this.port);
  }

  suspend(): void {
    this.process.signal("SIGSTOP");
  }

  resume(): void {
    this.process.signal("SIGCONT");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/**
 * The configuration that the options' own text overrides. A busy machine logs in and reads
 * late: the server would cut its clients after 2 s, and after 10 s.
 */
function defaultsOf({ maxPayload, websocket }: NatsOptions): string {
  const lines = ["authorization { timeout: 60 }", 'write_deadline: "60s"'];
  if (maxPayload !== undefined) {
    lines.push(`max_payload: ${maxPayload}`);
  }
  if (websocket) {
    const port = websocket === true ? -1 : websocket;
    lines.push(`websocket { listen: "127.0.0.1:${port}", no_tls: true }`);
  }
  return `${lines.join("\n")}\ninclude nats-server.conf\n`;
}
