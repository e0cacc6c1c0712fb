import { request as httpRequest } from "node:http";
import { connect as connectSocket } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf, gate, until } from "../../runtime/test/support.js";
import { type Authenticate, type GatewayOptions, startGateway } from "../src/index.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway } = useGateway();

const get = "/test.v1.TestService/Get";

/** Everyone is who the header says. */
const byName: Authenticate = ({ headers }) => {
  const owner = headers.get("x-owner");
  return owner === null ? undefined : { owner };
};

/** A gateway, and a worker that counts the calls that reach it. */
async function counted(options: GatewayOptions = {}) {
  const seen = { calls: 0 };
  await nats.worker({
    get: ({ text }) => {
      seen.calls += 1;
      return { text };
    },
  });
  const { url, logged } = await gateway(options);
  return { url, logged, seen };
}

test("without authenticate it says that it listens on loopback only, and refuses other addresses", async () => {
  const { logged, url } = await counted();
  expect(logged.join()).toContain("loopback only");
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:/);
  for (const host of ["0.0.0.0", "::", "192.0.2.1", "example.com"]) {
    const error = await failureOf(startGateway({ host, port: 0, services: [] }));
    expect(error.code).toBe(Code.FailedPrecondition);
  }
});

test("an idle connection is kept for longer than a proxy keeps it", async () => {
  const { url } = await counted();
  const { headers } = await postJson(`${url}${get}`, {});
  const [, seconds] = /timeout=(\d+)/.exec(headers.get("keep-alive") ?? "") ?? [];
  expect(Number(seconds)).toBeGreaterThan(60);
});

test("a cache is told that pages of other origins get another answer", async () => {
  const origin = "https://app.example.com";
  const { url } = await counted({ cors: { origins: [origin] } });
  const headersOf = async (headers: Record<string, string>) =>
    (await fetch(`${url}/healthz`, { headers })).headers;
  for (const headers of [{}, { origin }, { origin: url }]) {
    expect((await headersOf(headers)).get("vary")).toBe("Origin");
  }
  expect((await headersOf({ origin })).get("access-control-allow-origin")).toBe(origin);
});

test("without authenticate a request that names another machine is refused", async () => {
  const { url, seen } = await counted();
  const status = await new Promise<number | undefined>((resolve) => {
    const headers = { host: "evil.example.com", "content-type": "application/json" };
    httpRequest(`${url}${get}`, { method: "POST", headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).end("{}");
  });
  expect(status).toBe(403);
  expect(seen.calls).toBe(0);
});

test("whoever is not known is refused, in each protocol, before the body is read", async () => {
  const { url, seen } = await counted({ authenticate: byName });
  const plain = await postJson(`${url}${get}`, "no JSON {");
  expect(plain.status).toBe(401);
  expect(plain.headers.get("www-authenticate")).toBe("Bearer");
  expect(await plain.json()).toMatchObject({ code: "unauthenticated" });
  for (const transport of [
    createConnectTransport({ baseUrl: url, httpVersion: "1.1" }),
    createConnectTransport({ baseUrl: url, httpVersion: "2" }),
    createGrpcTransport({ baseUrl: url }),
    createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" }),
    createGrpcWebTransport({ baseUrl: url, httpVersion: "2" }),
  ]) {
    const client = createClient(TestService, transport);
    expect((await failureOf(client.get({}))).code).toBe(Code.Unauthenticated);
    expect((await failureOf(collect(client.down({})))).code).toBe(Code.Unauthenticated);
  }
  expect(seen.calls).toBe(0);
  expect((await postJson(`${url}${get}`, {}, { "X-Owner": "acme" })).status).toBe(200);
});

test("an error of authenticate itself is logged, and tells a client nothing", async () => {
  const { url, logged } = await counted({
    authenticate: () => {
      throw new Error("the key store is away");
    },
  });
  const response = await postJson(`${url}${get}`, {});
  expect(response.status).toBe(500);
  expect(await response.json()).toEqual({ code: "internal", message: "internal error" });
  expect(logged.join()).toContain("the key store is away");

  const refused = await counted({
    authenticate: () => {
      throw new ConnectError("your account is locked", Code.PermissionDenied);
    },
  });
  expect((await postJson(`${refused.url}${get}`, {})).status).toBe(403);
});

test("an identity calls its methods only", async () => {
  const { url, seen } = await counted({
    authenticate: ({ headers }) => ({ methods: [headers.get("x-may") ?? ""] }),
  });
  const statusFor = async (may: string) =>
    (await postJson(`${url}${get}`, {}, { "X-May": may })).status;
  expect(await statusFor("test.v1.TestService/Do")).toBe(403);
  expect(await statusFor("test.v1.TestServic")).toBe(403);
  expect(await statusFor("")).toBe(403);
  expect(seen.calls).toBe(0);
  expect(await statusFor("test.v1.TestService/Get")).toBe(200);
  expect(await statusFor("test.v1.TestService")).toBe(200);
});

test("calls are those of the identity's owner, and its headers win over the client's", async () => {
  let seen: string | null = null;
  await nats.worker({
    do: (_request, { requestHeader }) => {
      seen = requestHeader.get("x-user");
      return {};
    },
  });
  const { url } = await gateway({
    authenticate: () => ({ owner: "acme", headers: { "X-User": "ada" } }),
  });
  const subjects: string[] = [];
  const { nats: root } = await nats.connect();
  root.subscribe("test.v1.TestService.queue.>", {
    callback: (_error, { subject }) => void subjects.push(subject),
  });
  await root.flush();
  const headers = { "X-User": "eve", "Jetrpc-Owner": "globex", Owner: "globex" };
  expect((await postJson(`${url}/test.v1.TestService/Do`, {}, headers)).status).toBe(200);
  await root.flush();
  expect(seen).toBe("ada");
  expect(subjects).toEqual([expect.stringContaining(".queue.Do.acme.")]);
});

test("a page of another origin is refused, unless it is named", async () => {
  const { url, seen } = await counted({
    cors: { origins: ["https://app.example.com"], allowedHeaders: ["X-Own"] },
  });
  const call = (origin: string, method = "POST") =>
    fetch(`${url}${get}`, {
      method,
      headers: { Origin: origin, "Content-Type": "application/json" },
      ...(method === "POST" && { body: "{}" }),
    });
  for (const stranger of ["https://evil.example.com", "null", "https://app.example.com.evil.com"]) {
    for (const method of ["POST", "OPTIONS"]) {
      const refused = await call(stranger, method);
      expect(refused.status).toBe(403);
      expect(refused.headers.get("access-control-allow-origin")).toBeNull();
    }
  }
  expect(seen.calls).toBe(0);
  const preflight = await call("https://app.example.com", "OPTIONS");
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("access-control-allow-origin")).toBe("https://app.example.com");
  expect(preflight.headers.get("access-control-allow-headers")).toMatch(/Authorization.*X-Own/);
  expect(seen.calls).toBe(0);
  const answer = await call("https://app.example.com");
  expect(answer.status).toBe(200);
  expect(answer.headers.get("access-control-allow-origin")).toBe("https://app.example.com");
  expect((await call(url)).status).toBe(200);
});

test("large messages, headers and wrong content types are refused, and reach no worker", async () => {
  const { url, seen } = await counted({ limits: { maxMessageBytes: 1000, maxHeaderBytes: 4096 } });
  const large = await postJson(`${url}${get}`, { text: "x".repeat(2000) });
  expect(large.status).toBe(429);
  expect(await large.json()).toMatchObject({ code: "resource_exhausted" });
  const bomb = await fetch(`${url}${get}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Content-Encoding": "gzip" },
    body: await gzip(JSON.stringify({ text: "x".repeat(100_000) })),
  });
  expect(bomb.status).toBe(429);
  expect((await postJson(`${url}${get}`, {}, { "X-Large": "x".repeat(5000) })).status).toBe(431);
  const bodies: [string, string, number][] = [
    ["application/json", "{", 400],
    ["application/json", '{"text": 1}', 400],
    ["application/proto", "\u000a\u00ff", 500],
    ["application/connect+proto", "\u0001", 415],
    ["text/plain", "{}", 415],
    ["application/grpc-web+proto", "\u0000\u0000", 200],
    ["", "{}", 415],
  ];
  for (const [type, body, status] of bodies) {
    const response = await fetch(`${url}${get}`, {
      method: "POST",
      headers: { "Content-Type": type },
      body,
    });
    expect([type, body, response.status]).toEqual([type, body, status]);
    await response.arrayBuffer();
  }
  for (const method of ["PUT", "DELETE", "PATCH"]) {
    expect((await fetch(`${url}${get}`, { method, body: "{}" })).status).toBe(405);
  }
  expect(seen.calls).toBe(0);
});

test("a client that sends headers or a body slowly loses its connection, and no other does", async () => {
  const { url, seen } = await counted({ limits: { headersTimeoutMs: 300, bodyTimeoutMs: 300 } });
  const { port } = new URL(url);
  const head = `POST ${get} HTTP/1.1\r\nHost: 127.0.0.1\r\n`;
  for (const begun of [
    "",
    "PRI * HT",
    head,
    `${head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
  ]) {
    const socket = connectSocket(Number(port), "127.0.0.1");
    socket.on("error", () => undefined).resume();
    socket.write(begun);
    await new Promise((resolve) => socket.once("close", resolve));
  }
  expect(seen.calls).toBe(0);
  // On a busy machine it may be slow itself.
  await until(() =>
    postJson(`${url}${get}`, {}).then(
      ({ status }) => status === 200,
      () => false,
    ),
  );
});

test("an identity has its number of calls at once, and of calls a second; others have theirs", async () => {
  const { opened, open } = gate();
  const begun = gate();
  await nats.worker({
    get: async () => {
      begun.open();
      await opened;
      return {};
    },
    down: async function* () {},
  });
  const { url } = await gateway({
    authenticate: byName,
    limits: { maxConcurrentCalls: 1, maxCallsPerSecond: 2 },
  });
  const call = (owner: string) => postJson(`${url}${get}`, {}, { "X-Owner": owner });
  const first = call("a");
  await begun.opened;
  const second = await call("a");
  expect(second.status).toBe(429);
  expect(await second.text()).toContain("run at once");
  const other = call("b");
  open();
  expect((await first).status).toBe(200);
  expect((await other).status).toBe(200);

  // As many as come in some seconds of a busy machine.
  await until(async () => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => fetch(`${url}/none`, { headers: { "X-Owner": "c" } })),
    );
    return answers.some(({ status }) => status === 429);
  });
});

test("a gateway that drains lets calls end, and tells a load balancer and those that do not end", async () => {
  const { opened, open } = gate();
  const begun = gate();
  await nats.worker({
    get: async () => {
      begun.open();
      await opened;
      return { text: "whole" };
    },
    async *down(_request, { signal }) {
      yield { index: 1 };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  const patient = await gateway({ drainTimeoutMs: 60_000 });
  expect(await (await fetch(`${patient.url}/healthz`)).text()).toBe("ok\n");
  const call = postJson(`${patient.url}${get}`, {});
  await begun.opened;
  const drained = patient.drain();
  await expect(fetch(`${patient.url}/healthz`)).rejects.toThrow();
  open();
  expect(await (await call).json()).toEqual({ text: "whole" });
  await drained;

  const hasty = await gateway({ drainTimeoutMs: 1 });
  const client = createClient(TestService, createGrpcTransport({ baseUrl: hasty.url }));
  const stream = client.down({})[Symbol.asyncIterator]();
  await stream.next();
  const end = failureOf(stream.next());
  await hasty.drain();
  expect((await end).code).toBe(Code.Unavailable);
});

test("a gateway that drains ends connections of HTTP/1.1 with the answers that are under way", async () => {
  const { opened, open } = gate();
  let running = 0;
  await nats.worker({
    get: async ({ text }) => {
      running += 1;
      await opened;
      return { text };
    },
  });
  const { url, drain } = await gateway({ drainTimeoutMs: 60_000 });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const call = (text: string) =>
    new Promise<(string | undefined)[]>((resolve, reject) => {
      const headers = { "content-type": "application/json" };
      const sent = httpRequest(`${url}${get}`, { method: "POST", agent, headers }, (response) => {
        response.resume().once("end", () => {
          resolve([`${response.statusCode}`, response.headers.connection]);
        });
      });
      sent.on("error", reject).end(JSON.stringify({ text }));
    });
  open();
  expect(await call("before")).toEqual(["200", "keep-alive"]);
  const next = gate();
  const raw = await RawConnection.open(url);
  expect(running).toBe(1);
  const held = call("held");
  await held;
  next.open();
  raw.socket.destroy();
});

async function gzip(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
