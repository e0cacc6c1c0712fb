import { setMaxListeners } from "node:events";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import type { Connection } from "@jetrpc/runtime";
import { connect as connectTo } from "@jetrpc/runtime/node";
import { isBlobPath, parseBlobPath } from "./blob-path.js";
import { answerBlob } from "./blobs.js";
import { CallLimiter } from "./call-limiter.js";
import { Catalogue, type Route } from "./catalogue.js";
import { ClientLeft } from "./client-left.js";
import { Connections } from "./connections.js";
import { cut, dropRest, type Exchange } from "./exchange.js";
import { defaultLimits, type GatewayLimits, type GatewayOptions } from "./gateway-options.js";
import { CallService } from "./gen/jetrpc/v1/call_service_pb.js";
import { strangerAt } from "./health.js";
import { HttpListener } from "./http-listener.js";
import { identify } from "./identify.js";
import { checkMethod, type Identity } from "./identity.js";
import { isLoopback, isLoopbackHost } from "./loopback.js";
import { MethodCalls } from "./method-calls.js";
import { openApiDocument } from "./openapi.js";
import { Origins } from "./origins.js";
import { ownMethods } from "./own-methods.js";
import { notRun } from "./proxy.js";
import { type HttpRequest, type HttpResponse, Refusal, refusal, send } from "./refuse.js";
import { TlsFiles } from "./tls-files.js";
import { type Log, toClient } from "./to-client.js";
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
  private readonly log: Log;
  private readonly origins: Origins;
  private readonly limiter: CallLimiter;
  private readonly connections: Connections;
  private readonly catalogue: Catalogue;
  private readonly calls: MethodCalls;
  /** The methods of the gateway itself, by their path. */
  private readonly own: ReadonlyMap<string, UniversalHandler>;
  private readonly shutdown = new AbortController();
  /** Aborted when it takes no more requests. */
  private readonly stopping = new AbortController();
  /** What is under way, by the response that it gives. */
  private readonly running = new Map<HttpResponse, Promise<void>>();
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
    this.calls = new MethodCalls(this.connections, this.limits, this.log);
    const discover = <T>(ask: (connection: Connection) => Promise<T>): Promise<T> =>
      this.connections.with(anyOwner, ask);
    this.catalogue = new Catalogue({
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
      maxMessageBytes: this.limits.maxMessageBytes,
      shutdownSignal: this.shutdown.signal,
      stoppingSignal: this.stopping.signal,
      route: (path, identity) => this.route(path, identity),
      log: this.log,
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
              toClient(error, this.log);
              cut(response);
            })
            .finally(() => this.running.delete(response));
          this.running.set(response, run);
          if (this.draining) {
            endAfter(response);
          }
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
    for (const response of this.running.keys()) {
      endAfter(response);
    }
    const timer = setTimeout(() => {
      const text = "the gateway stops: call again, or attach to the call";
      this.shutdown.abort(new ConnectError(text, Code.Unavailable));
      // Answers to those that are told so are still sent.
      setTimeout(() => this.listener?.destroy(), lingerMs).unref();
    }, drainTimeoutMs);
    while (this.running.size > 0) {
      await Promise.all(this.running.values());
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
      await send(
        request,
        response,
        refusal(contentType, notRun(toClient(error, this.log)), status),
      );
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
        await this.calls.callOwn(own, exchange);
        return;
      }
      if (isBlobPath(path)) {
        await this.carryBlob(path, exchange);
        return;
      }
      const route = this.known(path, identity) ?? (await this.route(path, identity));
      await this.calls.call(route, exchange);
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

  private async sayHealth(request: HttpRequest, response: HttpResponse): Promise<void> {
    const isWell = !this.draining;
    const answer = {
      status: isWell ? 200 : 503,
      headers: { "content-type": "text/plain; charset=utf-8" },
      body: isWell ? "ok\n" : "stopping\n",
    };
    await send(request, response, answer);
  }
}

/** Has a connection of HTTP/1.1 end with an answer, so that its client sends no more requests by it. */
function endAfter(response: HttpResponse): void {
  if ("shouldKeepAlive" in response) {
    response.shouldKeepAlive = false;
  }
}
