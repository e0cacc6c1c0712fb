import { once } from "node:events";
import type { IncomingMessage, RequestListener, Server } from "node:http";
import {
  constants,
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import type { HttpRequest, HttpResponse } from "./refuse.js";
import { createHttpServer, type TlsFiles } from "./tls-files.js";

/** Where a gateway listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsFiles | undefined;
}

/** What a client that has begun may take its time for. */
export interface ListenerLimits {
  /** Most bytes of headers of a request. */
  readonly maxHeaderBytes: number;
  /** How long the headers of a request may take, in ms. */
  readonly headersTimeoutMs: number;
  /** Most connections at once. */
  readonly maxConnections: number;
}

/** How long a connection of HTTP/2 may have no request, in ms. */
const idleMs = 60_000;

/**
 * The same of HTTP/1.1. It is longer than the minute of most proxies: who closes first while the other
 * side sends makes that request fail.
 */
const keptAliveMs = 75_000;

/** Most requests of a connection of HTTP/2 that its client resets at once, and in a second. */
const maxResets = 900;
const resetsPerSecond = 30;

/** How long a connection may be silent before its other end is asked whether it is there, in ms. */
const keepAliveMs = 30_000;

/** How long a connection of HTTP/2 that is told to end has for it, in ms. */
const lingerMs = 1_000;

/** The first bytes of a connection of HTTP/2. */
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** HTTP/1.1 and HTTP/2 on one port: with TLS, or without (h2c, with prior knowledge). */
export class HttpListener {
  private readonly sessions = new Set<ServerHttp2Session>();

  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly tls: TlsFiles | undefined,
  ) {}

  /** Listens. Throws AlreadyExists when the port is in use, InvalidArgument for no address. */
  static async listen(
    { host, port, tls }: Address,
    { maxHeaderBytes, headersTimeoutMs, maxConnections }: ListenerLimits,
    onRequest: (request: HttpRequest, response: HttpResponse) => void,
  ): Promise<HttpListener> {
    const server = createHttpServer(tls, {
      handshakeTimeout: headersTimeoutMs,
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      // A stream of requests may take as long as it likes; the gateway bounds others.
      requestTimeout: 0,
      keepAliveTimeout: keptAliveMs,
      connectionsCheckingInterval: Math.min(headersTimeoutMs, 5_000),
      // A client that has gone without a word holds its calls until then.
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMs,
    });
    const take1: RequestListener = (request, response) => {
      if (hasManyHosts(request)) {
        response.writeHead(400, { connection: "close" }).end();
      } else {
        onRequest(request, response);
      }
    };
    // A client that waits before it sends its body is asked for it by whoever reads it.
    server.on("request", take1).on("checkContinue", take1);
    server.maxConnections = maxConnections;
    const self = new HttpListener(server, tls);
    const http2 = createHttp2Server({
      maxSessionMemory: 64,
      settings: { maxConcurrentStreams: 1_000, maxHeaderListSize: maxHeaderBytes },
    });
    const take2 = (request: Http2ServerRequest, response: Http2ServerResponse) => {
      // The setting only tells clients.
      if (sizeOf(request.rawHeaders) > maxHeaderBytes) {
        response.writeHead(431);
        response.end();
      } else {
        onRequest(request, response);
      }
    };
    http2.on("request", take2).on("checkContinue", take2);
    http2.on("session", (session) => {
      self.sessions.add(session);
      session.once("close", () => self.sessions.delete(session));
      session.on("error", () => session.destroy());
      watch(session, headersTimeoutMs);
    });
    const opened = tls ? "secureConnection" : "connection";
    const [http1] = server.listeners(opened) as ((socket: Socket) => void)[];
    server.removeAllListeners(opened);
    server.on("connection", (socket: Socket) => {
      self.sockets.add(socket);
      socket.once("close", () => self.sockets.delete(socket));
    });
    server.on(opened, (socket: Socket) => {
      tellVersion(socket, headersTimeoutMs, (version) => {
        if (version === 2) {
          // The server of HTTP/1.1 leaves it half open, and the calls of a client that has gone with it.
          socket.once("end", () => socket.destroy());
          http2.emit("connection", socket);
        } else {
          http1?.call(server, socket);
        }
      });
    });
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      if (socket.writable && error.code !== "ECONNRESET") {
        socket.end(`HTTP/1.1 ${statusOf(error)}\r\nConnection: close\r\n\r\n`);
      } else {
        socket.destroy();
      }
    });
    try {
      server.listen(port, host);
      await once(server, "listening");
    } catch (cause) {
      tls?.close();
      const isTaken = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
      throw new ConnectError(
        isTaken
          ? `${host}:${port} is in use: end what listens there, or choose another port`
          : `it cannot listen on ${host}:${port}: ${String(cause)}`,
        isTaken ? Code.AlreadyExists : Code.InvalidArgument,
        undefined,
        undefined,
        cause,
      );
    }
    // One that cannot be accepted, as there are too many, is not to end the others.
    server.on("error", () => undefined);
    return self;
  }

  /** `http://127.0.0.1:8080` */
  get url(): string {
    const { address, family, port } = this.server.address() as AddressInfo;
    return `${this.tls ? "https" : "http"}://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  }

  /**
   * Takes no more connections, and no more requests on those that are there. Resolves when
   * each connection has sent what it had, and is closed.
   */
  async stop(): Promise<void> {
    this.tls?.close();
    // It ends idle connections, too, and counts those of HTTP/2.
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const session of this.sessions) {
      session.close();
    }
    await closed;
  }

  /** Ends all connections. */
  destroy(): void {
    // Also those that have not said anything yet.
    for (const socket of this.sockets) {
      socket.destroy();
    }
  }
}

/**
 * Ends a connection of HTTP/2 that has no request: the first one has to come as soon as its
 * headers would have to, and what is sent that makes no request does not count. Ends one, too,
 * whose client resets its requests all the time: Node would only stop to read what it sends.
 */
function watch(session: ServerHttp2Session, headersTimeoutMs: number): void {
  let requests = 0;
  const end = () => {
    session.close();
    setTimeout(() => session.destroy(), lingerMs).unref();
  };
  let timer = setTimeout(end, headersTimeoutMs).unref();
  let resets = 0;
  let since = performance.now();
  session.on("stream", (stream) => {
    requests += 1;
    clearTimeout(timer);
    stream.once("close", () => {
      requests -= 1;
      // Its client may reset it without an error, too.
      if (stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR) {
        const now = performance.now();
        resets = Math.max(0, resets - ((now - since) / 1_000) * resetsPerSecond) + 1;
        since = now;
        if (resets > maxResets) {
          session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
        }
      }
      if (requests === 0 && !session.closed) {
        timer = setTimeout(end, idleMs).unref();
      }
    });
  });
  session.once("close", () => clearTimeout(timer));
}

/** Bytes of names and values, as HTTP/2 counts them: an entry has 32 more. */
function sizeOf(rawHeaders: readonly string[]): number {
  return rawHeaders.reduce((sum, each) => sum + each.length + 16, 0);
}

/** True for a request that two servers could take for those of two hosts; Node takes the first. */
function hasManyHosts({ rawHeaders }: IncomingMessage): boolean {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length === 4 && name.toLowerCase() === "host") {
      hosts += 1;
    }
  }
  return hosts > 1;
}

/** Tells by its first bytes which version of HTTP a connection speaks; they are left to be read. */
function tellVersion(socket: Socket, timeoutMs: number, tell: (version: 1 | 2) => void): void {
  let seen = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  const fail = () => socket.destroy();
  const look = () => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) {
      return;
    }
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, preface.length);
    const matches = seen.toString("latin1", 0, length) === preface.slice(0, length);
    if (matches && length < preface.length) {
      return;
    }
    clearTimeout(timer);
    socket.off("readable", look).off("error", fail);
    socket.unshift(seen);
    tell(matches ? 2 : 1);
  };
  socket.on("error", fail).on("readable", look);
  socket.once("close", () => clearTimeout(timer));
}

function statusOf({ code }: NodeJS.ErrnoException): string {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return "431 Request Header Fields Too Large";
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return "408 Request Timeout";
    default:
      return "400 Bad Request";
  }
}
