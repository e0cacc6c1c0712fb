import type { DescService } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import type { CallLimits } from "./call-limiter.js";
import type { ListenerLimits } from "./http-listener.js";
import type { Authenticate } from "./identity.js";
import type { CorsOptions } from "./origins.js";
import type { TlsOptions } from "./tls-files.js";

/** Limits of what clients may send. */
export interface GatewayLimits extends CallLimits, ListenerLimits {
  /** Most bytes of a message, also when it is unpacked. */
  readonly maxMessageBytes: number;
  /** Most owners that call at once: each has a connection to NATS. */
  readonly maxOwners: number;
  /** How long a request of one message may take to arrive, and an upload may send nothing, in ms. */
  readonly bodyTimeoutMs: number;
  /** How long a client may take nothing of an answer that is sent to it, in ms. */
  readonly writeTimeoutMs: number;
  /** Most bytes of a Blob that is uploaded. */
  readonly maxBlobBytes: number;
}

/** Options of `startGateway()`. */
export interface GatewayOptions {
  /**
   * The services that are served. Default: all whose workers run, as they describe themselves;
   * a new service or method is served without a restart.
   */
  services?: readonly DescService[] | undefined;
  /**
   * Tells who sends a request, or refuses it. Without it the gateway listens on loopback only,
   * and whoever reaches it is the owner `_`.
   */
  authenticate?: Authenticate | undefined;
  /** Pages of other origins that may call. Default: none. */
  cors?: CorsOptions | undefined;
  /** Address to listen on. Default: `127.0.0.1`. */
  host?: string | undefined;
  /** Certificate and key, for https; files are read again when they change. Default: http. */
  tls?: TlsOptions | undefined;
  /** Port to listen on; 0 for any that is free. Default: 8080. */
  port?: number | undefined;
  /**
   * Connects to NATS for an owner; the gateway closes it. Default: `connect({ owner })`, as the
   * environment says.
   */
  connect?: ((owner: string) => Promise<Connection>) | undefined;
  /** Default: see docs/gateway.md. */
  limits?: Partial<GatewayLimits> | undefined;
  /** How long `drain()` lets requests run, in ms. Default: 30 s. */
  drainTimeoutMs?: number | undefined;
  /** Takes what the gateway has to say. Default: nobody. */
  log?: ((message: string) => void) | undefined;
}

export const defaultLimits: GatewayLimits = {
  maxMessageBytes: 4 * 1024 * 1024,
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 10_000,
  bodyTimeoutMs: 30_000,
  writeTimeoutMs: 60_000,
  maxBlobBytes: 16 * 1024 ** 3,
  maxConnections: 10_000,
  maxOwners: 1_000,
  maxConcurrentCalls: 1_000,
  maxCallsPerSecond: 10_000,
};
