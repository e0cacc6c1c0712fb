import { setMaxListeners } from "node:events";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { createAsyncIterable, type UniversalHandler } from "@connectrpc/connect/protocol";
import type { Connection } from "@jetrpc/runtime";
import { connect as connectTo } from "@jetrpc/runtime/node";
import { isBlobPath, parseBlobPath } from "./blob-path.js";
import { answerBlob } from "./blobs.js";
import { CallLimiter } from "./call-limiter.js";
import { Catalogue, type Route } from "./catalogue.js";
import { ClientLeft } from "./client-left.js";
import { Connections } from "./connections.js";
import {
  abandon,
  bodyOf,
  dropRest,
  headersOf,
  limitTimeout,
  sendUniversal,
  universalRequest,
} from "./exchange.js";
import { defaultLimits, type GatewayLimits, type GatewayOptions } from "./gateway-options.js";
import { CallService } from "./gen/jetrpc/v1/call_service_pb.js";
import { strangerAt } from "./health.js";
import { HttpListener } from "./http-listener.js";
import { identify } from "./identify.js";
import { checkMethod, type Identity } from "./identity.js";
import { isLoopback, isLoopbackHost } from "./loopback.js";
import { requestMetadata } from "./metadata.js";
import { openApiDocument } from "./openapi.js";
import { Origins } from "./origins.js";
import { ownMethods } from "./own-methods.js";
import { notRun, outward } from "./proxy.js";
import { type HttpRequest, type HttpResponse, Refusal, refusal, send } from "./refuse.js";
import { requestKey, requestOf } from "./request-context.js";
import { respondAsync, wantsAsync } from "./respond-async.js";
import { TlsFiles } from "./tls-files.js";
import { visibleServices } from "./visible-services.js";

/** A running gateway. */
export interface Gateway {
  /** `http://127.0.0.1:8080`; with `tls`, https. */
  readonly url: string;
  /**
   * Takes no more requests, lets those that run end for `drainTimeoutMs`, and closes its
   * connections. Durable calls go on without it.
   */
  drain(): Promise<void>;
  /** The same as `drain()`: for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How long an owner's connection is kept that nobody uses, in ms. */
const idleMs = 300_000;

/** How long a client may take for its last answer when the gateway stops, in ms. */
const lingerMs = 1_000;

/** Most characters of an unknown path that are told again. */
const maxPath = 300;

/** The owner of whoever has none. */
const anyOwner = "_";

/** Whoever calls where nobody is asked who it is. */
const nobody: Identity = {};

/**
 * Serves services over HTTP: Connect, gRPC, gRPC-Web, and JSON by any HTTP client. Resolves
 * when it listens.
 *
 * Throws FailedPrecondition when it is to listen on another address than loopback without
 * `authenticate`, AlreadyExists when the port is in use, InvalidArgument for impossible options
 * and for `tls` that cannot be used, and what `connect` throws.
 */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const server = new GatewayServer(options);
  await server.start();
  return {
    url: server.url,
    drain: () => server.drain(),
    [Symbol.asyncDispose]: () => server.drain(),
  };
}

class GatewayServer {
  private readonly limits: GatewayLimits;
  private readonly log: (message: string) => void;
  private readonly origins: Origins;
  private readonly limiter: CallLimiter;
  private readonly connections: Connections;
  private readonly catalogue: Catalogue;
  /** The methods of the gateway itself, by their path. */
  private readonly own: ReadonlyMap<string, UniversalHandler>;
  private readonly shutdown = new AbortController();
  /** Aborted when it takes no more requests. */
  private readonly stopping = new AbortController();
  private readonly running = new Set<Promise<void>>();
  private listener: HttpListener | undefined;
  private draining: Promise<void> | undefined;

  constructor(private readonly options: GatewayOptions) {
    this.limits = { ...defaultLimits, ...options.limits };
    this.log = options.log ?? (() => undefined);
    // Each call that runs listens.
    setMaxListeners(0, this.shutdown.signal);
    this.origins = new Origins(options.cors);
    this.limiter = new CallLimiter(this.limits);
    this.connections = new Connections(
      options.connect ?? ((owner) => connectTo({ owner })),
      idleMs,
      this.limits.maxOwners,
    );
    const connection = (context: HandlerContext) => requestOf(context).connection;
    const metadata = (context: HandlerContext) =>
      requestMetadata(context.requestHeader, requestOf(context).identity);
    const discover = <T>(ask: (connection: Connection) => Promise<T>): Promise<T> =>
      this.connections.with(anyOwner, ask);
    this.catalogue = new Catalogue({
      calls: { connection, metadata },
      readMaxBytes: this.limits.maxMessageBytes,
      shutdownSignal: this.shutdown.signal,
      discovery: options.services ? undefined : discover,
      log: this.log,
    });
    for (const service of options.services ?? []) {
      this.catalogue.add(service);
    }
    this.own = ownMethods({
      catalogue: this.catalogue,
      calls: { connection, metadata },
      maxMessageBytes: this.limits.maxMessageBytes,
      shutdownSignal: this.shutdown.signal,
      stoppingSignal: this.stopping.signal,
      route: (path, identity) => this.route(path, identity),
      discover,
    });
  }

  get url(): string {
    return (this.listener as HttpListener).url;
  }

  async start(): Promise<void> {
    const { host = "127.0.0.1", port = 8080, authenticate } = this.options;
    if (!authenticate) {
      if (!isLoopback(host)) {
        throw new ConnectError(
          `without authenticate the gateway listens on loopback only, and not on ${host}: say who may call`,
          Code.FailedPrecondition,
        );
      }
      this.log(`no authenticate: it listens on loopback only, and all on this machine may call`);
    }
    const tls = this.options.tls && new TlsFiles(this.options.tls, this.log);
    try {
      // Whoever starts it learns at once that NATS is away or refuses.
      this.listener = await this.connections.with(anyOwner, () =>
        HttpListener.listen({ host, port, tls }, this.limits, (request, response) => {
          const run = this.answer(request, response)
            // An error here is a mistake of the gateway, and is not to end other requests.
            .catch((error: unknown) => {
              this.errorOf(error);
              response.destroy();
            })
            .finally(() => this.running.delete(run));
          this.running.add(run);
        }),
      );
    } catch (error) {
      await this.connections.close();
      throw error;
    }
  }

  drain(): Promise<void> {
    this.draining ??= this.stop();
    return this.draining;
  }

  private async stop(): Promise<void> {
    const { drainTimeoutMs = 30_000 } = this.options;
    this.stopping.abort();
    const stopped = this.listener?.stop();
    const timer = setTimeout(() => {
      const text = "the gateway stops: call again, or attach to the call";
      this.shutdown.abort(new ConnectError(text, Code.Unavailable));
      // Answers to those that are told so are still sent.
      setTimeout(() => this.listener?.destroy(), lingerMs).unref();
    }, drainTimeoutMs);
    while (this.running.size > 0) {
      await Promise.all(this.running);
    }
    clearTimeout(timer);
    // A connection that is kept alive may stay open; what was written to the others is sent.
    const linger = setTimeout(() => this.listener?.destroy(), lingerMs);
    await stopped;
    clearTimeout(linger);
    await this.connections.close();
  }

  /** Answers a request. */
  private async answer(request: HttpRequest, response: HttpResponse): Promise<void> {
    // From the beginning: a client may leave at any time, and nothing tells later that it has.
    const left = ClientLeft.of(response, this.limits.writeTimeoutMs);
    const headers = request.headers;
    const path = request.url?.split("?", 1)[0] ?? "";
    // That of a file says nothing of the protocol.
    const contentType = isBlobPath(path) ? undefined : headers["content-type"];
    const host = String(headers[":authority"] ?? headers.host ?? "");
    const cors = this.origins.headersFor(headers.origin, host);
    try {
      if (!cors) {
        const text = `pages of ${headers.origin} may not call`;
        throw new ConnectError(text, Code.PermissionDenied);
      }
      if (!this.options.authenticate && !isLoopbackHost(host)) {
        throw new ConnectError(`${host} is not this machine`, Code.PermissionDenied);
      }
      for (const [name, value] of Object.entries(cors)) {
        response.setHeader(name, value);
      }
      if (request.method === "OPTIONS" && headers.origin !== undefined) {
        await send(request, response, this.origins.preflight(cors));
        return;
      }
      if (path === "/healthz") {
        await this.sayHealth(request, response);
        return;
      }
      await this.call(path, request, response, left);
    } catch (error) {
      const status = error instanceof Refusal ? error.status : undefined;
      // No handler has begun.
      await send(request, response, refusal(contentType, notRun(this.errorOf(error)), status));
    } finally {
      dropRest(request);
    }
  }

  private async call(
    path: string,
    request: HttpRequest,
    response: HttpResponse,
    left: ClientLeft,
  ): Promise<void> {
    const { authenticate } = this.options;
    const identity = authenticate
      ? await identify(authenticate, request, response).catch((error) => strangerAt(path, error))
      : nobody;
    const { owner = anyOwner, name = owner } = identity;
    const end = this.limiter.begin(name);
    try {
      const own = this.own.get(path);
      const exchange = { request, response, left, identity, owner };
      if (path === "/openapi.json") {
        await this.describe(exchange);
        return;
      }
      if (own) {
        await this.catalogue.refresh();
        await this.lend(exchange, own.method, (its) => this.handle(own, exchange, its));
        return;
      }
      if (isBlobPath(path)) {
        await this.carryBlob(path, exchange);
        return;
      }
      const route = this.known(path, identity) ?? (await this.route(path, identity));
      if (wantsAsync(route, request.method, request.headers)) {
        await this.submit(route, exchange);
        return;
      }
      await this.run(route, exchange);
    } finally {
      end();
    }
  }

  /** The same as `route()` of a method that is known already. */
  private known(path: string, identity: Identity): Route | undefined {
    const route = this.catalogue.known(path);
    if (route) {
      checkMethod(identity, path.slice(1));
    }
    return route;
  }

  /** The method of a path, if an identity may call it. */
  private async route(path: string, identity: Identity): Promise<Route> {
    const route = await this.catalogue.find(path);
    if (!route) {
      const text = `no service here has ${path.slice(0, maxPath)}`;
      throw new Refusal(text, Code.Unimplemented, 404);
    }
    checkMethod(identity, path.slice(1));
    return route;
  }

  private async carryBlob(path: string, to: Exchange): Promise<void> {
    const target = parseBlobPath(path);
    const { desc } = await this.route(`/${target.service}/${target.method}`, to.identity);
    const { maxBlobBytes, bodyTimeoutMs: idleMs } = this.limits;
    const { log } = this;
    const { signal } = this.shutdown;
    await this.connections.with(to.owner, (connection) =>
      answerBlob({ ...to, connection, desc, maxBlobBytes, idleMs, signal, log }, target),
    );
  }

  /** Tells a client how it calls by JSON what it may call. */
  private async describe({ request, response, identity }: Exchange): Promise<void> {
    if (request.method !== "GET" && request.method !== "HEAD") {
      throw new Refusal("GET it", Code.Unimplemented, 405);
    }
    await this.catalogue.refresh();
    const visible = visibleServices(this.catalogue.all, identity);
    const services = [...visibleServices([CallService], {}), ...visible];
    const { securitySchemes } = this.options.authenticate ?? {};
    await send(request, response, {
      status: 200,
      // It is another one for others, and when a service comes.
      headers: { "content-type": "application/json", "cache-control": "private, no-cache" },
      body: JSON.stringify(openApiDocument(services, { securitySchemes })),
    });
  }

  /** Submits the call of a request that is not to wait for it. */
  private async submit(route: Route, to: Exchange): Promise<void> {
    const { request, response, left, identity } = to;
    const header = headersOf(request);
    await this.lend(to, route.desc, async (connection) => {
      try {
        const answer = await respondAsync({
          route,
          connection,
          header,
          metadata: requestMetadata(header, identity),
          body: bodyOf(request),
          maxBytes: this.limits.maxMessageBytes,
          signal: left.signal,
        });
        await send(request, response, answer);
      } catch (error) {
        // Nobody may know whether the call is accepted.
        await this.fail(to, outward(error));
      }
    });
  }

  /** Calls a method, and answers with its response. */
  private async run({ short, desc, handler }: Route, to: Exchange): Promise<void> {
    const { request } = to;
    await this.lend(to, desc, async (connection) => {
      let read: readonly Uint8Array[] | undefined;
      if (short?.takes(request)) {
        try {
          read = await short.answer({ ...to, connection });
        } catch (error) {
          await this.fail(to, error);
        }
        if (!read) {
          return;
        }
      }
      const isGet = request.method === "GET";
      const its = handler(isGet ? undefined : request.headers["content-type"]);
      await this.handle(its, to, connection, read && createAsyncIterable([...read]));
    });
  }

  private async handle(
    handler: UniversalHandler,
    to: Exchange,
    connection: Connection,
    body?: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const { request, response, left, identity } = to;
    try {
      const values = createContextValues().set(requestKey, { identity, connection });
      const header = headersOf(request);
      limitTimeout(header);
      const universal = await handler(universalRequest(request, header, left.signal, values, body));
      await sendUniversal(universal, response, left);
    } catch (error) {
      await this.fail(to, error);
    }
  }

  /** Ends a call whose answer cannot be sent: it may have run. */
  private async fail({ request, response, left }: Exchange, error: unknown): Promise<void> {
    if (left.has || response.headersSent) {
      // The client has left, or sees by the end of its connection that this is not all.
      response.destroy();
    } else {
      await send(request, response, refusal(request.headers["content-type"], this.errorOf(error)));
    }
  }

  /** Lends the connection of whoever calls, for the time that the call of a method takes. */
  private async lend<T>(
    { request, owner }: Exchange,
    desc: DescMethod,
    use: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    const stopTimer = this.limitBody(desc, request);
    try {
      return await this.connections.with(owner, use);
    } finally {
      stopTimer();
    }
  }

  /** Ends a connection whose client takes too long to send one message. */
  private limitBody({ methodKind }: DescMethod, request: HttpRequest): () => void {
    if (methodKind === "client_streaming" || methodKind === "bidi_streaming") {
      return () => undefined;
    }
    const timer = setTimeout(() => abandon(request), this.limits.bodyTimeoutMs);
    return () => clearTimeout(timer);
  }

  private async sayHealth(request: HttpRequest, response: HttpResponse): Promise<void> {
    const isWell = !this.draining;
    const answer = {
      status: isWell ? 200 : 503,
      headers: { "content-type": "text/plain; charset=utf-8" },
      body: isWell ? "ok\n" : "stopping\n",
    };
    await send(request, response, answer);
  }

  private errorOf(error: unknown): ConnectError {
    if (error instanceof ConnectError) {
      return error;
    }
    this.log(`a request failed: ${error instanceof Error ? error.stack : String(error)}`);
    return new ConnectError("internal error", Code.Internal);
  }
}

/** A request, its response, and who sent it. */
interface Exchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly left: ClientLeft;
  readonly identity: Identity;
  readonly owner: string;
}
