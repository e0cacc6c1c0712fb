import type { DescService, Registry } from "@bufbuild/protobuf";
import type { Authenticate } from "@jetrpc/gateway";
import type { Connection } from "@jetrpc/runtime";

/** The services that a console shows. */
export interface Schema {
  readonly services: readonly DescService[];
  /** All types, to show messages with. */
  readonly registry: Registry;
}

/** A running worker, as it tells by discovery. */
export interface RunningWorker {
  readonly service: string;
  readonly id: string;
  readonly version: string;
  /** NOT_SERVING when it is about to stop. */
  readonly status: string;
  /** When it started, where it told. */
  readonly started?: string | undefined;
  readonly methods: readonly RunningMethod[];
}

/** A method that a worker serves. */
export interface RunningMethod {
  readonly name: string;
  /** Handlers that run, and that may run at once; 0 for no limit. */
  readonly running: number;
  readonly slots: number;
  /** Since the worker started. */
  readonly calls: number;
  readonly errors: number;
  /** Of a handler, in ms. */
  readonly averageMs: number;
}

/** How a server is looked at beside the operator API: as the commands of `jetrpc` do. */
export interface ServerView {
  /** The workers that answer. Errors: PermissionDenied, Unavailable. */
  findWorkers(connection: Connection): Promise<RunningWorker[]>;
  /** Asks JetStream; undefined when what was asked for does not exist. */
  askJetStream<T>(connection: Connection, api: string): Promise<T | undefined>;
  /** A setting of a stream or a consumer, for a person. */
  showSetting(field: string, value: unknown): string;
}

/** What somebody may do in a console: only look, or act, too. */
export type Role = "read" | "act";

/** A login by OpenID Connect: authorization code with PKCE. */
export interface OidcLogin {
  /** Address of the provider; its metadata are below `/.well-known/openid-configuration`. */
  readonly issuer: string;
  readonly clientId: string;
  /** Default: a public client, without a secret. */
  readonly clientSecret?: string | undefined;
  /** Default: `openid profile email`. */
  readonly scope?: string | undefined;
  /** The role of who has these claims in the ID token; undefined refuses them. */
  role(claims: Readonly<Record<string, unknown>>): Role | undefined;
}

/**
 * A login by tokens, `Authorization: Bearer`: `apiTokens()` or `bearerJwt()` of
 * `@jetrpc/gateway`. A browser begins a session with one in a form. Who may call all methods
 * has the role `act`; `methods` that are {@link readMethods} make the role `read`.
 */
export interface TokenLogin {
  readonly authenticate: Authenticate;
}

/** Options of `startConsole()`. */
export interface ConsoleOptions {
  /** Connects to NATS; the console closes the connection. */
  connect(): Promise<Connection>;
  /**
   * The services that are shown. It is asked again now and then, as workers that describe
   * themselves come and go.
   */
  schema(connection: Connection): Promise<Schema>;
  readonly view: ServerView;
  /** Address to listen on. Default: `127.0.0.1`. */
  readonly host?: string | undefined;
  /** Port to listen on; 0 for any that is free. Default: 7420. */
  readonly port?: number | undefined;
  /**
   * Address under which browsers reach it: `https://console.example.com`, of a proxy that ends
   * TLS. Default: where it listens. Needed when that is not loopback.
   */
  readonly url?: string | undefined;
  /** Default: an address with a token that works once: see {@link Console.newAddress}. */
  readonly login?: OidcLogin | TokenLogin | undefined;
  /** Hides values of requests and responses from the role `read`. Default: false. */
  readonly mask?: boolean | undefined;
  /** File to which each act is added, as a line of JSON. Default: `onAct` only. */
  readonly actLog?: string | undefined;
  /** Told of each act. Default: nobody. */
  readonly onAct?: ((act: ActRecord) => void) | undefined;
  /** Takes what the console has to say. Default: nobody. */
  readonly log?: ((message: string) => void) | undefined;
  /** How often the server is looked at, in ms. Default: 10 s. */
  readonly intervalMs?: number | undefined;
  /** Folder of the built page. Default: that of the package. */
  readonly page?: string | undefined;
}

/** An act as the log has it. */
export interface ActRecord {
  /** ISO 8601. */
  readonly at: string;
  readonly user: string;
  readonly act: string;
  readonly target: string;
  readonly call?: { service: string; method: string; owner: string; callId: string } | undefined;
  readonly outcome: string;
  readonly failed: boolean;
  readonly count?: number | undefined;
}
