import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import type { Connection } from "@jetrpc/runtime";
import { typesOf } from "@jetrpc/runtime/schema";
import { afterEach } from "vitest";
import { askJetStream } from "../../cli/src/doctor/jetstream.js";
import { findWorkers } from "../../cli/src/running-workers.js";
import { showSetting } from "../../cli/src/show-plan.js";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { useNats as provideNats } from "../../runtime/test/support.js";
import {
  type ActRecord,
  type Console,
  type ConsoleOptions,
  ConsoleService,
  startConsole,
} from "../src/index.js";

export type ConsoleClient = Client<typeof ConsoleService>;

/** A console of a test, and what it told. */
export type TestConsole = Console & { acts: ActRecord[]; logged: string[] };

/** How the command looks at a server. */
const view = { findWorkers, askJetStream, showSetting };

/** Starts a console that looks often. */
export async function startTestConsole(
  connect: () => Promise<Connection>,
  options: Partial<ConsoleOptions> = {},
): Promise<TestConsole> {
  const acts: ActRecord[] = [];
  const logged: string[] = [];
  const running = await startConsole({
    port: 0,
    intervalMs: 100,
    connect,
    schema: async () => ({ services: [TestService], registry: typesOf(TestService) }),
    view,
    onAct: (act) => acts.push(act),
    log: (message) => logged.push(message),
    ...options,
  });
  return Object.assign(running, { acts, logged });
}

/** A nats-server for the tests of a file, and consoles that end with their test. */
export function provideConsoles() {
  const nats = provideNats();
  const open: Console[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) {
      await each.close();
    }
  });
  const self = {
    nats,
    async start(options: Partial<ConsoleOptions> = {}): Promise<TestConsole> {
      const running = await startTestConsole(() => nats.connect({ keep: true }), options);
      open.push(running);
      return running;
    },
    /** A console, and a client with a session of it. */
    async client(options: Partial<ConsoleOptions> = {}) {
      const running = await self.start(options);
      return { running, client: clientOf(running.url, { cookie: await logIn(running) }) };
    },
  };
  return self;
}

/** Begins a session by the one-time address; returns the cookie. */
export async function logIn(running: Console): Promise<string> {
  return cookieOf((await send(running.newAddress())).headers);
}

/** The cookie that an answer sets, as a browser sends it back. */
export function cookieOf(headers: IncomingHttpHeaders): string {
  return headers["set-cookie"]?.map((each) => each.split(";", 1)[0]).join("; ") ?? "";
}

/** A client that sends headers, as a page of the console does. */
export function clientOf(url: string, headers: Record<string, string>): ConsoleClient {
  const all = { "sec-fetch-site": "same-origin", ...headers };
  const setHeaders: Interceptor = (next) => (request) => {
    for (const [name, value] of Object.entries(all)) {
      request.header.set(name, value);
    }
    return next(request);
  };
  return createClient(
    ConsoleService,
    createConnectTransport({ baseUrl: url, httpVersion: "1.1", interceptors: [setHeaders] }),
  );
}

/** An answer. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Sends a request with any headers, also those that fetch() keeps for itself. */
export function send(
  url: string,
  {
    method = "GET",
    headers = {},
    body,
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}
