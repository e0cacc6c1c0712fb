import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { createContextKey, createContextValues, type Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { checkSameOrigin } from "@jetrpc/gateway";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { ActLog } from "./act-log.js";
import type { ConsoleOptions } from "./console-options.js";
import { consoleService } from "./console-service.js";
import { sendFile } from "./file-download.js";
import { ConsoleService } from "./gen/jetrpc/console/v1/console_service_pb.js";
import type { Hosts } from "./hosts.js";
import {
  answerDocument,
  answerRedirect,
  answerRefused,
  answerText,
  safetyHeaders,
} from "./http-answer.js";
import type { Login, LoginAnswer } from "./login.js";
import { OidcLogin } from "./oidc-login.js";
import { OneTimeLogin } from "./one-time-login.js";
import { PageFiles } from "./page-files.js";
import { onlyLooks } from "./roles.js";
import type { Sampler } from "./sampler.js";
import { Sessions } from "./sessions.js";
import type { Target } from "./target.js";
import { TokenLogin } from "./token-login.js";
import { checkMayAct, type User, userKey, userOf } from "./user.js";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };

/** Most bytes of a request: those of a message, and a request that is replayed in JSON. */
const maxRequestBytes = 16 * 1024 * 1024;
const maxFormBytes = 64 * 1024;

/** These tell by themselves that NATS is away. */
const withoutNats = ["GetSession", "WatchOverview", "GetMethod", "WatchMethod", "ListActs"];

/** HTTP statuses of errors that are told outside of Connect. */
const statuses: Partial<Record<Code, number>> = {
  [Code.InvalidArgument]: 400,
  [Code.Unauthenticated]: 401,
  [Code.PermissionDenied]: 403,
  [Code.NotFound]: 404,
  [Code.Unavailable]: 503,
};

/** Why there is no page. */
export const pageMissing =
  "the page of the console is not built: run `npm run build -- @jetrpc/console` in the repository of jetrpc";

/** What a site is made of. */
export interface SiteParts {
  readonly options: ConsoleOptions;
  readonly url: URL;
  readonly hosts: Hosts;
  readonly target: Target;
  readonly sampler: Sampler;
  readonly acts: ActLog;
}

/** Answers the requests of browsers and programs: logins, the page, its service, files. */
export class Site {
  private readonly login: Login;
  private readonly sessions: Sessions;
  private readonly files: PageFiles;
  private readonly shutdown = new AbortController();
  private readonly users = new WeakMap<object, User>();
  private readonly identifyKey = createContextKey<() => Promise<User>>(() => {
    throw noSession();
  });
  private readonly rpc: (request: IncomingMessage, response: ServerResponse) => void;

  constructor(private readonly parts: SiteParts) {
    const { options, url, target, sampler, acts } = parts;
    const { login, view, mask = false } = options;
    this.login = !login
      ? new OneTimeLogin()
      : "issuer" in login
        ? new OidcLogin(login, url)
        : new TokenLogin(login);
    this.sessions = new Sessions(url);
    this.files = new PageFiles(options.page);
    const service = consoleService({
      ...{ target, sampler, view, acts, mask, version },
      canLogOut: this.login.canRepeat,
    });
    this.rpc = connectNodeAdapter({
      routes: (router) => router.service(ConsoleService, service),
      grpc: false,
      grpcWeb: false,
      // No form and no image sends it.
      requireConnectProtocolHeader: true,
      readMaxBytes: maxRequestBytes,
      interceptors: [this.admit()],
      shutdownSignal: this.shutdown.signal,
      contextValues: (request) =>
        createContextValues()
          .set(userKey, this.users.get(request) ?? noSession())
          .set(this.identifyKey, () => this.identify(request as IncomingMessage)),
    }) as typeof this.rpc;
  }

  get isBuilt(): boolean {
    return this.files.isBuilt;
  }

  /** Ends streams. */
  end(): void {
    this.shutdown.abort(new ConnectError("the console ends", Code.Unavailable));
  }

  newAddress(): string {
    const { login } = this;
    const { origin } = this.parts.url;
    return login instanceof OneTimeLogin ? `${origin}/login?token=${login.newToken()}` : origin;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(safetyHeaders)) {
      response.setHeader(name, value);
    }
    try {
      await this.route(request, response);
    } catch (error) {
      const { code, rawMessage } = ConnectError.from(error);
      if (response.headersSent) {
        response.destroy();
      } else if (code === Code.Unknown || code === Code.Internal) {
        this.parts.options.log?.(`a request failed: ${rawMessage}`);
        answerText(response, 500, "internal error: the terminal of the console tells more");
      } else {
        answerText(response, statuses[code] ?? 500, rawMessage);
      }
    }
  }

  private async route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.parts.hosts.isOwn(request.headers.host)) {
      // Whoever sends it has another name for this machine.
      answerText(
        response,
        421,
        "this name is not one of the console's: open the address that it has printed",
      );
      return;
    }
    const address = request.url ?? "";
    if (!address.startsWith("/") || !URL.canParse(`http://console${address}`)) {
      answerText(response, 400, "the address of the request is none");
      return;
    }
    // Not resolved: `//name` is a path of this server.
    const url = new URL(`http://console${address}`);
    const { pathname } = url;
    const { method = "" } = request;
    const isGet = method === "GET" || method === "HEAD";
    if (pathname.startsWith(`/${ConsoleService.typeName}/`)) {
      await this.call(request, response);
    } else if (pathname === "/login" && (isGet || method === "POST")) {
      await this.begin(request, response, url);
    } else if (pathname === "/login/callback" && method === "GET" && this.login.finish) {
      this.answerLogin(response, await this.login.finish(request, url));
    } else if (pathname === "/logout" && method === "POST") {
      await this.logOut(request, response);
    } else if (pathname.startsWith("/files/") && method === "GET") {
      await this.sendFile(request, response, pathname);
    } else if (isGet) {
      this.sendPage(response, pathname, method === "HEAD");
    } else {
      answerText(response, 405, `${pathname} takes no ${method}`);
    }
  }

  /** A method of the service. */
  private async call(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let user: User;
    try {
      user = await this.identify(request);
    } catch (error) {
      // Before its body is read: strangers fill no memory.
      answerRefused(request, response, ConnectError.from(error));
      return;
    }
    this.users.set(request, user);
    response.setHeader("cache-control", "no-store");
    this.rpc(request, response);
  }

  /** Lets those call who may. It knows the request by its values: see `contextValues`. */
  private admit(): Interceptor {
    const { target } = this.parts;
    return (next) => async (request) => {
      const user = userOf({ values: request.contextValues });
      const { name, parent } = request.method;
      if (!onlyLooks(`${parent.typeName}/${name}`)) {
        checkMayAct(user);
      }
      if (!withoutNats.includes(name)) {
        target.checkConnected();
      }
      const response = await next(request);
      if (!response.stream) {
        return response;
      }
      const identify = request.contextValues.get(this.identifyKey);
      return { ...response, message: whileKnown(response.message, user, identify) };
    };
  }

  /** Who sends a request. Throws Unauthenticated, and PermissionDenied for a page of a stranger. */
  private async identify(request: IncomingMessage): Promise<User> {
    const headers = headersOf(request);
    const byToken = await this.login.identify(headers);
    if (byToken) {
      return byToken;
    }
    const user = await this.sessions.find(request.headers.cookie);
    if (!user) {
      throw noSession();
    }
    this.refuseStrangers(request);
    return user;
  }

  /** Throws PermissionDenied for what a page of another origin made a browser send. */
  private refuseStrangers(request: IncomingMessage, isForm = false): void {
    const { method = "" } = request;
    const headers = headersOf(request);
    if (isForm) {
      headers.set("content-type", "application/json");
    }
    checkSameOrigin({ method, headers }, this.parts.hosts.origins);
  }

  private async begin(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    let form: URLSearchParams | undefined;
    if (request.method === "POST") {
      this.refuseStrangers(request, true);
      form = new URLSearchParams(await readText(request, maxFormBytes));
    }
    this.answerLogin(response, await this.login.begin(request, url, form));
  }

  private answerLogin(response: ServerResponse, answer: LoginAnswer): void {
    if ("user" in answer) {
      void this.logLogin(answer.user);
      answerRedirect(response, answer.back, this.sessions.begin(answer.user));
    } else if ("redirect" in answer) {
      answerRedirect(response, answer.redirect, answer.cookie);
    } else {
      answerDocument(response, answer.status, answer);
    }
  }

  private async logLogin(identify: () => Promise<User | undefined>): Promise<void> {
    const user = await identify().catch(() => undefined);
    const text = `the console, as ${user?.role ?? "nobody"}`;
    await this.log(user, "login", text);
  }

  private async log(user: User | undefined, act: string, target: string): Promise<void> {
    await this.parts.acts.add({
      user: user?.name ?? "",
      act,
      target,
      outcome: "done",
      failed: false,
    });
  }

  private async logOut(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.refuseStrangers(request, true);
    const { cookie } = request.headers;
    const user = await this.sessions.find(cookie).catch(() => undefined);
    response.setHeader("set-cookie", this.sessions.end(cookie));
    if (user) {
      await this.log(user, "logout", "the console");
    }
    answerText(response, 200, "the session has ended");
  }

  private async sendFile(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
  ): Promise<void> {
    const user = await this.identify(request);
    const { options, target } = this.parts;
    if (options.mask && user.role === "read") {
      throw new ConnectError("files are hidden from your role, read", Code.PermissionDenied);
    }
    target.checkConnected();
    await sendFile(target, path, response);
  }

  private sendPage(response: ServerResponse, path: string, isHead: boolean): void {
    if (!this.files.isBuilt) {
      answerText(response, 503, pageMissing);
      return;
    }
    const file = this.files.find(path);
    if (!file) {
      answerText(response, 404, "there is no such file");
      return;
    }
    response.writeHead(200, {
      "content-type": file.type,
      "content-length": file.bytes.length,
      "cache-control": file.isHashed ? "public, max-age=31536000, immutable" : "no-cache",
    });
    response.end(isHead ? undefined : file.bytes);
  }
}

/** A stream outlives a login: it ends, and an act with it, before the next message to who may not have it. */
async function* whileKnown<T>(
  messages: AsyncIterable<T>,
  { name, role }: User,
  identify: () => Promise<User>,
): AsyncGenerator<T> {
  for await (const message of messages) {
    const now = await identify();
    if (now.name !== name || now.role !== role) {
      throw new ConnectError("your login has changed: ask anew", Code.Aborted);
    }
    yield message;
  }
}

function noSession(): ConnectError {
  return new ConnectError("there is no session: open /login", Code.Unauthenticated);
}

function headersOf({ headers }: IncomingMessage): Headers {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    // Those of HTTP/2 are not of this server.
    if (typeof value === "string") {
      all.set(name, value);
    }
  }
  return all;
}

async function readText(request: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > maxBytes) {
      throw new ConnectError(`the form has more than ${maxBytes} bytes`, Code.InvalidArgument);
    }
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}
