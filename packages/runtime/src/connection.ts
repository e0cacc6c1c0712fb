import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  type ClientConnection,
  type ClientInternals,
  clientInternalsOf,
  internals,
} from "./client-connection.js";
import { Link } from "./link/link.js";
import type { CreateObserver } from "./link/observer.js";
import { checkTimeoutMs } from "./link/timer.js";
import { within } from "./link/within.js";
import { type MessageLimitOptions, type MessageLimits, messageLimits } from "./message/codec.js";
import { checkInterceptors } from "./message/interceptor-chain.js";
import type { Sha256 } from "./message/sha256.js";
import { latePayloads } from "./objects/late-payloads.js";
import { anyOwner } from "./schema/call-id.js";

/** A NATS connection that carries jetrpc: clients and workers are made on it. */
export interface Connection extends ClientConnection {
  /** The NATS connection itself. */
  readonly nats: NatsConnection;
  /** Whose durable calls this connection submits and attaches to. */
  readonly owner: string;
  /** The JetStream domain that was asked for; undefined for the server's own. */
  readonly domain: string | undefined;
  /**
   * Sends what is still to be sent and closes the NATS connection. It takes no longer
   * than `closeTimeoutMs`, whatever the server does, and never throws.
   */
  close(): Promise<void>;
}

/** What the runtime keeps of a connection to NATS. */
export interface Internals extends ClientInternals {
  readonly link: Link;
}

/** The settings of all calls that clients make on a connection. */
export interface CallSettings {
  readonly interceptors: readonly Interceptor[];
  readonly limits: MessageLimits;
  /** Of direct calls, in ms; 0 or less for none, undefined for the method's own. */
  readonly defaultTimeoutMs: number | undefined;
  readonly onWaiting: ((call: WaitingCall) => void) | undefined;
}

/**
 * The part of a connection to NATS that the runtime keeps for itself. Throws InvalidArgument
 * for any other object.
 */
export function internalsOf(connection: Connection): Internals {
  const own = clientInternalsOf(connection) as Internals;
  if (!own.link) {
    throw new ConnectError(
      "this connection carries the calls of clients only: workers, operators and discovery need one to NATS, made by connect() or createConnection()",
      Code.InvalidArgument,
    );
  }
  return own;
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
  /**
   * Watches what clients and workers do on the connection: `telemetry()` of `@jetrpc/otel`
   * is one. Default: nobody.
   */
  observer?: CreateObserver | undefined;
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
export interface Parts {
  /** Makes what makes the calls of clients. Default: there are no clients. */
  readonly createCaller?: (link: Link, settings: CallSettings) => ClientInternals["caller"];
  /** Default: a hash in JavaScript, several times slower than that of Node. */
  readonly createSha256?: () => Sha256;
}

/**
 * Makes a connection of a NATS connection. It knows nothing of clients and workers: a
 * program that has one of them loads nothing of the other.
 *
 * Throws FailedPrecondition when the server is older than 2.12, and
 * InvalidArgument for an impossible owner, domain, limit or time-out, and for what is no
 * connection of the NATS client.
 */
export function openConnection(
  nats: NatsConnection,
  options: ConnectionOptions,
  { createCaller, createSha256 }: Parts,
): Connection {
  checkServer(nats);
  const limits = messageLimits(options);
  const { interceptors = [], defaultTimeoutMs, onWaiting } = options;
  checkInterceptors(interceptors);
  checkTimeoutMs(defaultTimeoutMs, "defaultTimeoutMs");
  const link = new Link(
    nats,
    {
      owner: options.owner ?? anyOwner,
      inboxPrefix: options.inboxPrefix,
      domain: options.domain,
      createSha256,
      observer: options.observer,
    },
    latePayloads,
  );
  const settings = { interceptors, limits, defaultTimeoutMs, onWaiting };
  const own = { link, caller: createCaller?.(link, settings) };
  return new LinkedConnection(own, options.closeTimeoutMs);
}

/** Holds what it has in private: the options of a NATS connection may be secrets, and it may be printed. */
class LinkedConnection implements Connection {
  readonly owner: string;
  readonly domain: string | undefined;
  readonly #closeTimeoutMs: number;
  // Not #internals: tsup would take an assignment to it for one to the export.
  readonly #own: Internals;

  constructor(own: Internals, closeTimeoutMs = defaultCloseTimeoutMs) {
    this.owner = own.link.owner;
    this.domain = own.link.options.domain;
    this.#closeTimeoutMs = closeTimeoutMs;
    this.#own = own;
  }

  get nats(): NatsConnection {
    return this.#own.link.nats;
  }

  get transport(): Transport {
    // Nobody has a connection without one: serve() makes it for its worker.
    return (this.#own.caller as NonNullable<ClientInternals["caller"]>).transport;
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
  if (typeof (nats as NatsConnection | undefined)?.getServer !== "function") {
    throw new ConnectError(
      "this is no connection of the NATS client: connect() of @jetrpc/runtime/node makes one of an address",
      Code.InvalidArgument,
    );
  }
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
