import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
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
import { RawConnection } from "./raw-http.js";
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

test("a gateway that drains says by its answers of HTTP/1.1 that their connections end", async () => {
  const { opened, open } = gate();
  let running = 0;
  await nats.worker({
    get: async ({ text }) => {
      running += 1;
      await (text === "held" && opened);
      return { text };
    },
    async *down() {
      running += 1;
      yield { index: 1 };
      await opened;
    },
  });
  const patient = await gateway({ drainTimeoutMs: 60_000 });
  const body = '{"text":"held"}';
  const headOf = (path: string, type: string, length: number) =>
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`;
  const before = await RawConnection.open(patient.url);
  before.write(`${headOf(get, "application/json", 2)}{}`);
  await before.statuses();
  expect(before.bytes.toString("latin1")).toContain("Connection: keep-alive");
  // Each has had an answer, and could send more.
  const held = await RawConnection.open(patient.url);
  held.write(`${headOf(get, "application/json", body.length)}${body}`);
  const streaming = await RawConnection.open(patient.url);
  streaming.write(
    `${headOf("/test.v1.TestService/Down", "application/connect+json", 7)}\0\0\0\0\x02{}`,
  );
  await until(() => running === 3 && streaming.bytes.length > 0);
  const drained = patient.drain();
  await before.closed;
  open();
  await Promise.all([held.closed, streaming.closed]);
  expect(held.bytes.toString("latin1")).toMatch(/^HTTP\/1\.1 200 .*Connection: close.*held/s);
  // Its headers were sent before.
  expect(streaming.bytes.toString("latin1")).toMatch(/^HTTP\/1\.1 200 .*0\r\n\r\n$/s);
  await drained;
});

test("a client that asks before it sends its body is told to when it may call, and else is refused", async () => {
  const { url, seen } = await counted({ authenticate: byName });
  await postJson(`${url}${get}`, {}, { "X-Owner": "acme" });
  seen.calls = 0;
  const head = (more: string, path = get) =>
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n${more}\r\n`;
  for (const [path, more, status] of [
    [get, "", "401"],
    ["/none.v1.None/Get", "X-Owner: acme\r\n", "404"],
    [get, "X-Owner: acme\r\nOrigin: https://evil.example.com\r\n", "403"],
  ] as const) {
    const raw = await RawConnection.open(url);
    raw.write(head(more, path));
    await raw.closed;
    expect([path, more, ...(await raw.statuses())]).toEqual([path, more, status]);
  }
  expect(seen.calls).toBe(0);
  const raw = await RawConnection.open(url);
  raw.write(head("X-Owner: acme\r\n"));
  expect(await raw.statuses()).toEqual(["100"]);
  raw.write("{}");
  await until(async () => (await raw.statuses()).length === 2);
  expect(await raw.statuses()).toEqual(["100", "200"]);
  raw.socket.destroy();
  // Of HTTP/2, too.
  const session = connectHttp2(url);
  const ask = async (headers: Record<string, string>) => {
    const stream = session.request({
      ...{ ":method": "POST", ":path": get, "content-type": "application/json" },
      ...{ expect: "100-continue", ...headers },
    });
    let isAsked = false;
    stream.once("continue", () => {
      isAsked = true;
      stream.end("{}");
    });
    const [{ ":status": status }] = await once(stream, "response");
    stream.destroy();
    return [isAsked, status];
  };
  expect(await ask({})).toEqual([false, 401]);
  expect(await ask({ "x-owner": "acme" })).toEqual([true, 200]);
  session.destroy();
});

test("a call that takes longer than a body may take to arrive is answered, by every protocol", async () => {
  let end = Promise.resolve();
  await nats.worker({
    get: async () => {
      await end;
      return {};
    },
    async *down() {
      await end;
      yield {};
    },
    do: async () => {
      await end;
      return {};
    },
  });
  const { url } = await gateway({ limits: { bodyTimeoutMs: 2_000 } });
  await postJson(`${url}${get}`, {});
  end = new Promise((resolve) => setTimeout(resolve, 4_000));
  const transports = (["1.1", "2"] as const).flatMap((httpVersion) => [
    createConnectTransport({ baseUrl: url, httpVersion }),
    createConnectTransport({ baseUrl: url, httpVersion, useHttpGet: true }),
    createGrpcWebTransport({ baseUrl: url, httpVersion }),
  ]);
  await Promise.all(
    [createGrpcTransport({ baseUrl: url }), ...transports].map(async (transport) => {
      const client = createClient(TestService, transport);
      await Promise.all([client.get({}), client.do({}), collect(client.down({}))]);
    }),
  );
});

test("what is no error for a client is logged, by whichever way the call goes, and tells it nothing", async () => {
  const { url, logged } = await counted({
    // No header can have it.
    authenticate: () => ({ headers: { "x-user": "a secret\u20ac" } }),
  });
  for (const headers of [{}, { "connect-timeout-ms": "0060000" }]) {
    const answer = await postJson(`${url}${get}`, {}, headers);
    expect([answer.status, await answer.json()]).toEqual([
      500,
      { code: "internal", message: "internal error" },
    ]);
    expect(logged.splice(0).join()).toContain("a request failed: TypeError");
  }
});

async function gzip(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
