import { connect as connectTcp } from "node:net";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import type { NatsServer } from "@jetrpc/testing";
import { isAlive } from "../callers.js";
import { startServer } from "../development-server.js";
import { UsageError } from "../exit-code.js";
import { open } from "../session.js";

/** Where a client looks for a server when nobody says where it is. */
export const defaultUrl = "nats://127.0.0.1:4222";

/** How often it is looked whether an own server is there, in ms. */
const lookMs = 500;

/** The nats-server that `jetrpc dev` works with. */
export interface DevServer {
  /** It was started here, and what it stores ends with it. */
  readonly keepsNothing: boolean;
  /**
   * Says when a server of somebody else goes, and calls `onReturn` when it is back. Rejects when an
   * own one has ended by itself, and never resolves.
   */
  watch(onReturn: () => void): Promise<never>;
  stop(): Promise<void>;
}

interface FindOptions {
  /** Where clients look for it. */
  readonly url: string;
  /** It may be another machine's: a person has said so. */
  readonly isGiven: boolean;
  /** Folder in which an own one keeps what it stores. */
  readonly store: string | undefined;
  /** Told what happens. */
  readonly say: (line: string, level?: "warn") => void;
}

/**
 * Finds the server that answers at a URL, or starts one there. Throws UsageError where none may be
 * used, and the errors of connecting and of starting one.
 */
export async function findServer(options: FindOptions): Promise<DevServer> {
  const { url, isGiven, store } = options;
  const place = localPlace(url);
  if (!isGiven && !place) {
    throw new UsageError(
      `NATS_URL is not an address of this machine, and \`jetrpc dev\` changes streams as you write: give --server, if that is meant, or write NATS_URL=${defaultUrl} into .env`,
    );
  }
  if (place && place.port > 65_535) {
    throw new UsageError(
      `${isGiven ? "--server" : "NATS_URL"} names the port ${place.port}, and the last one is 65535`,
    );
  }
  const own = !isGiven && place ? await startAt(place, options) : undefined;
  if (own) {
    return own;
  }
  if (store !== undefined) {
    throw new UsageError(
      `--store is for a server that \`jetrpc dev\` starts, and another one runs already${place ? ` at ${place.host}:${place.port}` : ""}`,
    );
  }
  return new UsedServer(await open(isGiven ? { server: url } : {}), options.say);
}

/** Starts a server; undefined when something listens there. */
async function startAt(place: Place, { store, say }: FindOptions): Promise<DevServer | undefined> {
  if (await listens(place)) {
    return undefined;
  }
  try {
    const { running, version } = await startServer({
      port: place.port,
      store,
      report: say,
      otherPort: () => "name another one by NATS_URL in .env",
    });
    const kept = store === undefined ? "nothing is kept" : `it keeps ${resolve(store)}`;
    say(`nats-server ${version} is running at ${running.url}; ${kept}`);
    return new OwnServer(running, store === undefined);
  } catch (error) {
    // Another `jetrpc dev` was faster.
    if (ConnectError.from(error).code === Code.AlreadyExists && (await listens(place))) {
      return undefined;
    }
    throw error;
  }
}

class OwnServer implements DevServer {
  constructor(
    private readonly nats: NatsServer,
    readonly keepsNothing: boolean,
  ) {}

  async watch(): Promise<never> {
    while (isAlive(this.nats.pid)) {
      await delay(lookMs, undefined, { ref: false });
    }
    throw new ConnectError("nats-server has ended by itself", Code.Aborted);
  }

  stop(): Promise<void> {
    return this.nats.stop();
  }
}

class UsedServer implements DevServer {
  readonly keepsNothing = false;
  private readonly address: string;

  constructor(
    private readonly connection: Connection,
    private readonly say: FindOptions["say"],
  ) {
    const { nats } = connection;
    this.address = nats.getServer();
    say(`nats-server ${nats.info?.version} is used, which runs at ${this.address}`);
  }

  async watch(onReturn: () => void): Promise<never> {
    for await (const { type } of this.connection.nats.status()) {
      if (type === "disconnect") {
        const mend = "start it again, or start `jetrpc dev` again, which then runs one";
        this.say(`nats-server at ${this.address} is gone: ${mend}`, "warn");
      } else if (type === "reconnect") {
        this.say(`nats-server at ${this.address} is back`);
        onReturn();
      }
    }
    return new Promise(() => {});
  }

  stop(): Promise<void> {
    return this.connection.close();
  }
}

interface Place {
  readonly host: string;
  readonly port: number;
}

/** Where one server of this machine listens; undefined for any other. */
function localPlace(url: string): Place | undefined {
  const [, host, port = "4222"] =
    /^(?:nats:\/\/)?(?:[^@/]*@)?(127\.0\.0\.1|localhost)(?::(\d+))?\/?$/.exec(url) ?? [];
  return host === undefined ? undefined : { host, port: Number(port) };
}

/** True when something listens there. */
function listens({ host, port }: Place): Promise<boolean> {
  return new Promise((done) => {
    const socket = connectTcp(port, host);
    const end = (is: boolean) => {
      socket.destroy();
      done(is);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });
}
