import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import type { NatsConnection } from "@nats-io/nats-core";
import { Link } from "./link/link.js";
import { checkTimeoutMs } from "./link/timer.js";
import { within } from "./link/within.js";
import { type MessageLimitOptions, type MessageLimits, messageLimits } from "./message/codec.js";
import type { Sha256 } from "./message/sha256.js";
import { PayloadStore } from "./objects/payload-store.js";
import { anyOwner } from "./schema/call-id.js";

/**
 * Key of what the runtime keeps of a connection for itself. A symbol of the registry: an
 * app may load the runtime as an ES module and as CommonJS.
 */
const internals: unique symbol = Symbol.for("jetrpc.internals");

/** A NATS connection that carries jetrpc: clients and workers are made on it. */
export interface Connection {
  /** The NATS connection itself. */
  readonly nats: NatsConnection;
  /** A Connect transport: any Connect client works over it. */
  readonly transport: Transport;
  /** Whose durable calls this connection submits and attaches to. */
  readonly owner: string;
  /** The JetStream domain that was asked for; undefined for the server's own. */
  readonly domain: string | undefined;
  /**
   * Resolves when the connection is closed. With the reason when that was not by
   * close(): Unauthenticated when the server came to refuse the credentials.
   */
  readonly closed: Promise<ConnectError | undefined>;
  /**
   * Sends what is still to be sent and closes the NATS connection. It takes no longer
   * than `closeTimeoutMs`, whatever the server does, and never throws.
   */
  close(): Promise<void>;
  /** The same as `close()`: for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
  /** The runtime's own. */
  readonly [internals]: unknown;
}

/** The part of a connection that {@link internals} is the key of. */
export interface Internals {
  readonly link: Link;
  readonly settings: CallSettings;
  /** The maker of the calls of clients, once there was one. Known to the client only. */
  caller: unknown;
}

/** The settings of all calls that clients make on a connection. */
export interface CallSettings {
  readonly interceptors: readonly Interceptor[];
  readonly limits: MessageLimits;
  /** Of direct calls, in ms; 0 or less for none, undefined for the method's own. */
  readonly defaultTimeoutMs: number | undefined;
  readonly onWaiting: ((call: WaitingCall) => void) | undefined;
}

/** The part of a connection that the runtime keeps for itself. Throws InvalidArgument for any other object. */
export function internalsOf(connection: Connection): Internals {
  const own = (connection as Connection | undefined)?.[internals];
  if (own === undefined) {
    throw new ConnectError(
      "this is no connection of jetrpc: make one by connect(), or of a NATS connection by createConnection()",
      Code.InvalidArgument,
    );
  }
  return own as Internals;
}

/** Options of `createConnection()`. */
export interface ConnectionOptions extends MessageLimitOptions {
  /**
   * How long direct calls may take whose caller gives no `timeoutMs`, in ms; 0 for no
   * limit. Durable calls are not meant: only a caller limits theirs.
   * Default: what the option `timeout` of the method says.
   */
  defaultTimeoutMs?: number | undefined;
  /**
   * Keeps the durable calls of one owner (a tenant, a team, a user) from those
   * of others: 1 to 128 letters, digits or any of `_ = + @ : -`. Default: `_`.
   */
  owner?: string | undefined;
  /**
   * Run around every call of a client, and around `submit()`, which has an empty response.
   * Default: none.
   */
  interceptors?: Interceptor[] | undefined;
  /** First tokens of the subjects that replies come to. Default: `_INBOX`. */
  inboxPrefix?: string | undefined;
  /**
   * The JetStream domain of the streams, where that is not the server's own: behind a
   * leaf node. Default: the server's own.
   */
  domain?: string | undefined;
  /**
   * Called when a durable call has been waited for, by a plain call, `result()` or its
   * messages, for some seconds, and no worker serves its method; again after 5 minutes.
   * Default: nobody is told.
   */
  onWaiting?: ((call: WaitingCall) => void) | undefined;
  /** How long close() waits for the server to take what is still to be sent, in ms. Default: 5 s. */
  closeTimeoutMs?: number | undefined;
}

/** A durable call that somebody waits for, and no worker serves. */
export interface WaitingCall {
  /** Full name of the method: `pdf.v1.PdfService.ExtractText`. */
  readonly method: string;
  readonly callId: string;
  /** How long it has been waited for, in ms. */
  readonly waitedMs: number;
  /** Says what is missing, and the mend. */
  readonly message: string;
}

/** Default of {@link ConnectionOptions.closeTimeoutMs}. */
const defaultCloseTimeoutMs = 5_000;

/** The oldest nats-server that has what the call log needs (atomic batches). */
const oldestServer = [2, 12] as const;

/** The parts that the code that makes a connection gives it. */
interface Parts {
  /** Makes the transport, when it is first asked for. */
  readonly createTransport: (own: Internals) => Transport;
  /** Default: a hash in JavaScript, several times slower than that of Node. */
  readonly createSha256?: () => Sha256;
}

/**
 * Makes a connection of a NATS connection. It knows nothing of clients and workers: a
 * program that has one of them loads nothing of the other.
 *
 * Throws FailedPrecondition when the server is older than 2.12, and
 * InvalidArgument for an impossible owner, domain, limit or time-out.
 */
export function openConnection(
  nats: NatsConnection,
  options: ConnectionOptions,
  { createTransport, createSha256 }: Parts,
): Connection {
  checkServer(nats);
  const limits = messageLimits(options);
  const { interceptors = [], defaultTimeoutMs, onWaiting } = options;
  checkTimeoutMs(defaultTimeoutMs, "defaultTimeoutMs");
  const link = new Link(
    nats,
    {
      owner: options.owner ?? anyOwner,
      inboxPrefix: options.inboxPrefix,
      domain: options.domain,
      createSha256,
    },
    (itself) => new PayloadStore(itself),
  );
  const settings = { interceptors, limits, defaultTimeoutMs, onWaiting };
  const own = { link, settings, caller: undefined };
  return new LinkedConnection(own, createTransport, options.closeTimeoutMs);
}

/** Holds what it has in private: the options of a NATS connection may be secrets, and it may be printed. */
class LinkedConnection implements Connection {
  readonly owner: string;
  readonly domain: string | undefined;
  readonly #createTransport: (own: Internals) => Transport;
  readonly #closeTimeoutMs: number;
  // Not #internals: tsup would take an assignment to it for one to the export.
  readonly #own: Internals;
  #transport: Transport | undefined;

  constructor(
    own: Internals,
    createTransport: (own: Internals) => Transport,
    closeTimeoutMs = defaultCloseTimeoutMs,
  ) {
    this.owner = own.link.owner;
    this.domain = own.link.options.domain;
    this.#closeTimeoutMs = closeTimeoutMs;
    this.#createTransport = createTransport;
    this.#own = own;
  }

  get nats(): NatsConnection {
    return this.#own.link.nats;
  }

  get transport(): Transport {
    this.#transport ??= this.#createTransport(this.#own);
    return this.#transport;
  }

  get closed(): Promise<ConnectError | undefined> {
    return this.#own.link.closed;
  }

  get [internals](): Internals {
    return this.#own;
  }

  async close(): Promise<void> {
    const { nats } = this;
    const { link } = this.#own;
    if (link.connected) {
      link.flushLate();
      // A server that says nothing takes nothing; a connection that is lost meanwhile has
      // nothing left to send.
      await within(this.#closeTimeoutMs, nats.drain());
    }
    await nats.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function checkServer(nats: NatsConnection): void {
  const version = nats.info?.version ?? "";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [wantedMajor, wantedMinor] = oldestServer;
  if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
    throw new ConnectError(
      `nats-server ${version} is too old: jetrpc needs ${oldestServer.join(".")} or newer. Upgrade the server at ${nats.getServer()}.`,
      Code.FailedPrecondition,
    );
  }
}
