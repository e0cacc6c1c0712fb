import { connect as connectHttp2 } from "node:http2";
import { expect, test } from "vitest";
import { collect, until } from "../../runtime/test/support.js";
import type { GatewayOptions } from "../src/index.js";
import { frame, header, http2Preface, RawConnection } from "./raw-http.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway } = useGateway();

const get = "/test.v1.TestService/Get";

/** A gateway, and a worker that counts the calls that reach it. */
async function counted(options: GatewayOptions = {}) {
  const seen = { calls: 0 };
  const count = (text: string) => {
    seen.calls += 1;
    return { text };
  };
  await nats.worker({
    get: ({ text }) => count(text),
    do: ({ text }) => count(text),
    async *down({ text }) {
      yield count(text);
    },
    async *count({ text }) {
      yield count(text);
    },
    async up(requests) {
      return count((await collect(requests)).join());
    },
  });
  const { url, logged } = await gateway(options);
  // Its schema is known: what follows tries the requests, and not discovery.
  await postJson(`${url}${get}`, {});
  seen.calls = 0;
  return {
    url,
    logged,
    seen,
    /** Nothing reached a worker, and the gateway answers all the same. */
    async unharmed() {
      expect(seen.calls).toBe(0);
      let answer: unknown;
      // Whom a busy machine makes slow is sent away, too.
      await until(async () => {
        const response = await postJson(`${url}${get}`, { text: "well" }).catch(() => undefined);
        answer = await response?.json();
        return response?.status === 200;
      });
      expect(answer).toEqual({ text: "well" });
      expect(seen.calls).toBe(1);
      seen.calls = 0;
    },
  };
}

/** The status that each request gets: the first answer on its connection, or `closed`. */
async function statusesOf(url: string, requests: Record<string, string | Uint8Array>) {
  const statuses: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(requests)) {
    const raw = await RawConnection.open(url);
    raw.write(bytes);
    statuses[name] = (await raw.statuses()).join() || "closed";
    raw.socket.destroy();
  }
  return statuses;
}

const host = "Host: 127.0.0.1\r\n";
const json = "Content-Type: application/json\r\n";

test("requests that two servers could read in two ways are refused", async () => {
  const { url, unharmed } = await counted();
  const post = (headers: string, body = "{}", path = get) =>
    `POST ${path} HTTP/1.1\r\n${host}${json}${headers}\r\n${body}`;
  const statuses = await statusesOf(url, {
    "length and chunks": post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "two lengths": post("Content-Length: 2\r\nContent-Length: 3\r\n"),
    "a list of lengths": post("Content-Length: 2, 2\r\n"),
    "a length with a sign": post("Content-Length: +2\r\n"),
    "a length in hex": post("Content-Length: 0x2\r\n"),
    "a length that is too large": post("Content-Length: 99999999999999999999\r\n"),
    "chunks that are not the last coding": post("Transfer-Encoding: chunked, identity\r\n"),
    "a coding that looks like chunks": post("Transfer-Encoding: xchunked\r\n"),
    "a space before the colon": post("Content-Length : 2\r\n"),
    "a folded header": post("Content-Length: 2\r\nX-A: b\r\n\tc: d\r\n"),
    "a header without a colon": post("Content-Length: 2\r\nX-A\r\n"),
    "NUL in a header": post("Content-Length: 2\r\nX-A: a\0b\r\n"),
    "a bare return in a header": post("Content-Length: 2\r\nX-A: a\rJetrpc-B: c\r\n"),
    "a chunk of a size that is too large": post(
      "Transfer-Encoding: chunked\r\n",
      "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ),
    "a chunk of no size": post("Transfer-Encoding: chunked\r\n", "x\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than it says": post("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n"),
    "no host": `POST ${get} HTTP/1.1\r\n${json}Content-Length: 2\r\n\r\n{}`,
    "two hosts": post("Host: evil.example.com\r\nContent-Length: 2\r\n"),
    "a version that is not there": `POST ${get} HTTP/9.9\r\n${host}\r\n`,
    "no method": ` ${get} HTTP/1.1\r\n${host}\r\n`,
    CONNECT: `CONNECT evil.example.com:443 HTTP/1.1\r\n${host}\r\n`,
    TRACE: `TRACE ${get} HTTP/1.1\r\n${host}\r\n`,
    "an expectation": post("Content-Length: 2\r\nExpect: a-miracle\r\n"),
    "NUL in the path": `POST ${get}\0 HTTP/1.1\r\n${host}\r\n`,
    "a request of TLS": Buffer.from("16030100a5010000a10303", "hex"),
  });
  expect(statuses).toEqual({
    ...Object.fromEntries(Object.keys(statuses).map((name) => [name, "400"])),
    CONNECT: "closed",
    TRACE: "405",
    "an expectation": "417",
  });
  await unharmed();
});

test("a request that hides in the body of a refused one is not read", async () => {
  const { url, unharmed } = await counted();
  const hidden = `POST ${get} HTTP/1.1\r\n${host}${json}Content-Length: 2\r\n\r\n{}`;
  for (const length of [hidden.length, 500]) {
    const raw = await RawConnection.open(url);
    raw.write(`POST /no.such/Method HTTP/1.1\r\n${host}${json}Content-Length: ${length}\r\n\r\n`);
    raw.write(hidden);
    await raw.statuses();
    // One whose body was there at once is kept.
    raw.socket.end();
    await raw.closed;
    expect(await raw.statuses()).toEqual(["404"]);
  }
  await unharmed();
});

test("paths that lead around the check of a path lead nowhere", async () => {
  const { url, unharmed } = await counted();
  const paths = [
    "/test.v1.TestService%2FGet",
    "/test.v1.TestService/%47et",
    "/test.v1.TestService/../test.v1.TestService/Get",
    "/./test.v1.TestService/Get",
    "//test.v1.TestService/Get",
    "/test.v1.TestService//Get",
    "/test.v1.TestService/Get/",
    "/test.v1.TestService/Get%00",
    "/test.v1.TestService/Get;a=b",
    "/test.v1.TestService\\Get",
    "/TEST.V1.TESTSERVICE/GET",
    "/test.v1.TestService/get",
    "/.test.v1.TestService/Get",
    "/test..v1.TestService/Get",
    "/test.v1.TestService./Get",
    "/$SRV/PING",
    "/$JS.API/INFO",
    "/test.v1.*/Get",
    "/test.v1.>/Get",
    "/__proto__/constructor",
    "/constructor/toString",
    "/_INBOX.x/Get",
    `/${"a".repeat(250)}.${"b".repeat(4)}/Get`,
    `/${"a.".repeat(5000)}/Get`,
    "http://evil.example.com/test.v1.TestService/Get",
    "/jetrpc.v1.CallService/../CallService/Submit",
  ];
  const requests = Object.fromEntries(
    paths.map((path) => [
      path,
      `POST ${path} HTTP/1.1\r\n${host}${json}Content-Length: 2\r\n\r\n{}`,
    ]),
  );
  expect(await statusesOf(url, requests)).toEqual(
    Object.fromEntries(paths.map((path) => [path, "404"])),
  );
  await unharmed();
});

/** Sends a body, and gives status and code. */
async function sent(
  url: string,
  type: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": type, ...headers },
    body,
  });
  const answer = new Uint8Array(await response.arrayBuffer());
  const text = new TextDecoder().decode(answer);
  const code =
    response.headers.get("grpc-status") ?? /(?:"code":"|grpc-status: )(\w+)/.exec(text)?.[1];
  return [response.status, code];
}

test("JSON that is no message is refused, and JSON with tricks changes nothing", async () => {
  const { url, seen, unharmed } = await counted();
  const deep = (open: string, close: string, depth = 200_000) =>
    `${open.repeat(depth)}${close.repeat(depth)}`;
  const bad: Record<string, string | Uint8Array<ArrayBuffer>> = {
    "a number that is too large": '{"count": 2147483648}',
    "a number that is no whole one": '{"count": 1.5}',
    "a number without end": '{"count": 1e999}',
    "a number as a large text": `{"count": "${"9".repeat(100_000)}"}`,
    "not a number": '{"count": NaN}',
    "another type": '{"text": {"text": "a"}}',
    "a list": "[]",
    nothing: "null",
    "two messages": "{}{}",
    "a comment": "{/* */}",
    "bytes that are no base64": '{"data": "*"}',
    "half a character": '{"text": "\\ud800"}',
    "no JSON": new Uint8Array([0x0a, 0xff]),
    "lists in lists": deep("[", "]"),
    "objects in objects": `{"text":${deep('{"text":', "}").replace('{"text":}', "{}")}}`,
  };
  for (const [name, body] of Object.entries(bad)) {
    for (const path of [get, "/test.v1.TestService/Do"]) {
      const answer = [name, path, ...(await sent(`${url}${path}`, "application/json", body))];
      expect(answer).toEqual([name, path, 400, "invalid_argument"]);
    }
    const later = { Prefer: "respond-async" };
    expect([
      name,
      ...(await sent(`${url}/test.v1.TestService/Do`, "application/json", body, later)),
    ]).toEqual([name, 400, "invalid_argument"]);
  }
  await unharmed();
  const tricks =
    '{"__proto__": {"text": "evil"}, "constructor": {"prototype": {"evil": 1}}, "text": "a"}';
  const answer = await postJson(`${url}${get}`, tricks);
  expect(await answer.json()).toEqual({ text: "a" });
  expect(({} as Record<string, unknown>)["evil"]).toBeUndefined();
  seen.calls = 0;
});

test("a content type in other letters is read as the same, by whoever reads it", async () => {
  const { url } = await counted();
  for (const type of ["application/JSON", "Application/Json; Charset=UTF-8", "APPLICATION/JSON"]) {
    const answer = await fetch(`${url}${get}`, {
      method: "POST",
      headers: { "Content-Type": type },
      body: '{"text": "a"}',
    });
    expect([type, answer.status, await answer.json()]).toEqual([type, 200, { text: "a" }]);
    const submitted = await fetch(`${url}/test.v1.TestService/Do`, {
      method: "POST",
      headers: { "Content-Type": type, Prefer: "Respond-Async" },
      body: '{"text": "a"}',
    });
    expect([type, submitted.status]).toEqual([type, 202]);
  }
});

// As gRPC and Connect have it: the code of bytes that are no message is Internal.
test("binary messages that are none are refused", async () => {
  const { url, unharmed } = await counted();
  const bad: Record<string, Uint8Array<ArrayBuffer>> = {
    "half a field": new Uint8Array([0x0a, 0xff]),
    "a field without a number": new Uint8Array([0x02, 0x00]),
    "a length that is too large": new Uint8Array([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    "groups in groups": new Uint8Array(100_000).fill(0x0b),
    "a group that ends only": new Uint8Array([0x0c]),
    "a kind that is not there": new Uint8Array([0x0f]),
  };
  const answers: Record<string, unknown> = {};
  for (const [name, body] of Object.entries(bad)) {
    const envelope = new Uint8Array([0, 0, 0, 0, 0, ...body]);
    new DataView(envelope.buffer).setUint32(1, body.length);
    const service = `${url}/test.v1.TestService`;
    answers[name] = [
      await sent(`${service}/Get`, "application/proto", body),
      await sent(`${service}/Do`, "application/proto", body),
      await sent(`${service}/Do`, "application/proto", body, { Prefer: "respond-async" }),
      await sent(`${service}/Down`, "application/connect+proto", envelope),
      await sent(`${service}/Get`, "application/grpc-web+proto", envelope),
    ];
  }
  expect(answers).toEqual(
    Object.fromEntries(
      Object.keys(bad).map((name) => [
        name,
        [
          [500, "internal"],
          [500, "internal"],
          [400, "invalid_argument"],
          [200, "internal"],
          [200, "13"],
        ],
      ]),
    ),
  );
  await unharmed();
});

test("frames that are none are refused", async () => {
  const { url, unharmed } = await counted({ limits: { maxMessageBytes: 1_000 } });
  const down = `${url}/test.v1.TestService/Down`;
  const frames: [string, number[], string][] = [
    ["nothing", [], "unimplemented"],
    ["half a head", [0, 0], "invalid_argument"],
    ["half a message", [0, 0, 0, 0, 5, 1], "invalid_argument"],
    ["a length of 4 GiB", [0, 255, 255, 255, 255, 1], "resource_exhausted"],
    ["two messages", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "unimplemented"],
    ["packed by nothing", [1, 0, 0, 0, 1, 0], "internal"],
  ];
  const answers: unknown[] = [];
  for (const [name, bytes] of frames) {
    const answer = await sent(down, "application/connect+proto", new Uint8Array(bytes));
    answers.push([name, ...answer]);
  }
  expect(answers).toEqual(frames.map(([name, , code]) => [name, 200, code]));
  for (const [coding, status] of [
    ["zip", 501],
    ["gzip", 400],
    ["br", 400],
    ["gzip, gzip", 501],
  ] as const) {
    for (const headers of [{}, { Prefer: "respond-async" }]) {
      const answer = await sent(`${url}/test.v1.TestService/Do`, "application/json", "{}", {
        "Content-Encoding": coding,
        ...headers,
      });
      expect([coding, headers, answer[0]]).toEqual([coding, headers, status]);
    }
  }
  await unharmed();
});

test("impossible keys, deadlines and ids are refused", async () => {
  const { url, unharmed } = await counted();
  const durable = `${url}/test.v1.TestService/Do`;
  const keys = [
    "a b",
    "a.b.c",
    "*",
    ">",
    "a>",
    "$x",
    "a/b",
    "\u00e9",
    "x".repeat(129),
    "a, b",
    "%2e",
  ];
  for (const key of keys) {
    for (const headers of [{}, { Prefer: "respond-async" }]) {
      const header = { "Idempotency-Key": key, ...headers };
      const answer = await sent(durable, "application/json", "{}", header);
      expect([key, headers, ...answer]).toEqual([key, headers, 400, "invalid_argument"]);
    }
  }
  for (const timeout of ["-1", "1e3", "x", "99999999999999999999", "0x10", "1.5"]) {
    for (const path of [get, "/test.v1.TestService/Do"]) {
      for (const headers of [{}, { Prefer: "respond-async" }]) {
        const header = { "Connect-Timeout-Ms": timeout, ...headers };
        const answer = await sent(`${url}${path}`, "application/json", "{}", header);
        expect([path, timeout, ...answer]).toEqual([path, timeout, 400, "invalid_argument"]);
      }
    }
  }
  const calls = `${url}/jetrpc.v1.CallService`;
  const method = "test.v1.TestService/Do";
  const request = { "@type": "type.googleapis.com/test.v1.Request" };
  for (const callId of [...keys, ""]) {
    for (const rpc of ["Status", "Result", "Cancel"]) {
      const body = JSON.stringify({ method, callId });
      expect([callId, rpc, ...(await sent(`${calls}/${rpc}`, "application/json", body))]).toEqual([
        callId,
        rpc,
        400,
        "invalid_argument",
      ]);
    }
  }
  const submits: [object, number][] = [
    [{ method, request, callId: "*" }, 400],
    [{ method, request, timeout: "-1s" }, 400],
    [{ method, request, timeout: "1e9s" }, 400],
    [{ method, request, notBefore: "99999-12-31T23:59:59Z" }, 400],
    [{ method, request, priority: 99 }, 400],
    [{ method, request: { "@type": "type.googleapis.com/test.v1.None" } }, 400],
    [{ method, request: { "@type": "test.v1.Response" } }, 400],
    [{ method: `/${method}`, request }, 501],
    [{ method: "../Do", request }, 501],
    [{ method: "jetrpc.v1.CallService/Submit", request }, 501],
    [{ method: "test.v1.>/Do", request }, 501],
  ];
  const answers: unknown[] = [];
  for (const [body] of submits) {
    answers.push([
      body,
      (await sent(`${calls}/Submit`, "application/json", JSON.stringify(body)))[0],
    ]);
  }
  expect(answers).toEqual(submits);
  await unharmed();
});

const fields = Buffer.concat([
  header(":method", "POST"),
  header(":scheme", "http"),
  header(":path", get),
  header(":authority", "127.0.0.1"),
  header("content-type", "application/json"),
]);

/** HEADERS of a call, whose body is to come. */
const call = (stream: number) => frame(1, 4, stream, fields);

/** HEADERS of a call without a body, and with one more header. */
const callWith = (name: string, value: string) =>
  frame(1, 5, 1, Buffer.concat([fields, header(name, value)]));

test("floods of HTTP/2 end their connection, and no other", async () => {
  const { url, seen } = await counted({ limits: { headersTimeoutMs: 1_000 } });
  const repeated = (bytes: Buffer, times: number) => Buffer.concat(Array(times).fill(bytes));
  const stream = (i: number) => 2 * i + 1;
  const resets = (code: number) =>
    Buffer.concat(
      Array.from({ length: 1_500 }, (_, i) =>
        Buffer.concat([call(stream(i)), frame(3, 0, stream(i), Buffer.from([0, 0, 0, code]))]),
      ),
    );
  const floods: Record<string, Buffer> = {
    "headers that never end": Buffer.concat([
      frame(1, 0, 1, header(":method", "POST")),
      repeated(frame(9, 0, 1, header("x-more", "x".repeat(1_000))), 500),
    ]),
    "empty continuations": Buffer.concat([
      frame(1, 0, 1, header(":method", "POST")),
      repeated(frame(9, 0, 1), 10_000),
    ]),
    "half of some headers": frame(1, 0, 1, header(":method", "POST")),
    "settings without end": repeated(frame(4, 0, 0), 5_000),
    "pings without end": repeated(frame(6, 0, 0, Buffer.alloc(8)), 5_000),
    "streams that are reset at once": resets(8),
    "streams that are reset at once, without an error": resets(0),
    "streams that the other side has to reset": Buffer.concat(
      Array.from({ length: 1_500 }, (_, i) =>
        // It may take nothing more: an increment of 0 is an error.
        Buffer.concat([call(stream(i)), frame(8, 0, stream(i), Buffer.alloc(4))]),
      ),
    ),
    "a frame that is too large": frame(0, 0, 1, Buffer.alloc(20_000)),
    "a frame of no connection": frame(5, 4, 1, Buffer.alloc(8)),
    "no frame": Buffer.from("GET / HTTP/1.1\r\n\r\n".repeat(10)),
    "a header in capitals": callWith("X-Upper", "1"),
    "a header of HTTP/1.1": callWith("transfer-encoding", "chunked"),
    "nothing more": Buffer.alloc(0),
  };
  for (const [name, bytes] of Object.entries(floods)) {
    const before = seen.calls;
    const raw = await RawConnection.open(url);
    raw.write(http2Preface);
    raw.write(bytes);
    await raw.closed;
    // Streams that are reset may have begun; no more of them than one may open at once.
    expect([name, seen.calls - before <= (name.includes("reset") ? 1_100 : 0)]).toEqual([
      name,
      true,
    ]);
  }
  await until(async () => (await postJson(`${url}${get}`, {})).status === 200);
});

test("headers of HTTP/2 that are too large end their request", async () => {
  const { url, unharmed } = await counted({ limits: { maxHeaderBytes: 4_096 } });
  const session = connectHttp2(url);
  for (const large of [
    { "x-large": "x".repeat(5_000) },
    Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, "y".repeat(20)])),
  ]) {
    const request = session.request({
      ":method": "POST",
      ":path": get,
      "content-type": "application/json",
      ...large,
    });
    request.end("{}");
    const outcome = await new Promise((resolve) => {
      request.on("response", (headers) => resolve(headers[":status"]));
      request.on("error", () => resolve("refused"));
    });
    expect(["refused", 431]).toContain(outcome);
  }
  session.destroy();
  await unharmed();
});

test("a client that has its answer cannot go on to send", async () => {
  const { url, unharmed } = await counted({ limits: { maxMessageBytes: 1_000 } });
  const paths: Record<string, string> = {
    "/no.such/Method": "404",
    "/healthz": "200",
    [get]: "429",
  };
  /** Sends until the other side has enough. */
  const sendUntil = async (closed: Promise<unknown>, send: () => void) => {
    const timer = setInterval(send, 20);
    await closed.finally(() => clearInterval(timer));
  };
  const chunk = Buffer.alloc(16_384, "x");
  // Of HTTP/2 the request ends.
  const session = connectHttp2(url);
  for (const path of Object.keys(paths)) {
    const request = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/json",
    });
    request.on("error", () => undefined).resume();
    let status: unknown;
    request.once("response", (headers) => {
      status = headers[":status"];
    });
    await sendUntil(
      new Promise((resolve) => request.once("close", resolve)),
      () => !request.destroyed && request.write(chunk),
    );
    expect([path, `${status}`]).toEqual([path, paths[path]]);
  }
  session.destroy();
  // Of HTTP/1.1 the connection, after an answer that can be read.
  for (const path of Object.keys(paths)) {
    const raw = await RawConnection.open(url);
    raw.write(`POST ${path} HTTP/1.1\r\n${host}${json}Transfer-Encoding: chunked\r\n\r\n`);
    await sendUntil(raw.closed, () => raw.write(`4000\r\n${chunk.toString()}\r\n`));
    expect([path, ...(await raw.statuses())]).toEqual([path, paths[path]]);
  }
  await unharmed();
});

test("a body that comes slowly ends its request of HTTP/2, and no other of its connection", async () => {
  const { url, unharmed } = await counted({ limits: { bodyTimeoutMs: 300 } });
  const session = connectHttp2(url);
  const request = session.request({
    ":method": "POST",
    ":path": get,
    "content-type": "application/json",
  });
  request.on("error", () => undefined).resume();
  request.write("{");
  await new Promise((resolve) => request.once("close", resolve));
  expect(session.closed).toBe(false);
  session.destroy();
  await unharmed();
});

test("a client that resets its request while it is looked at harms nobody", async () => {
  const opened: (() => void)[] = [];
  const { url, unharmed } = await counted({
    authenticate: async ({ headers }) => {
      if (headers.has("x-slow")) {
        await new Promise<void>((resolve) => opened.push(resolve));
        return undefined;
      }
      return {};
    },
  });
  for (const code of [0, 1, 2, 8, 11]) {
    const session = connectHttp2(url);
    const request = session.request({
      ":method": "POST",
      ":path": get,
      "content-type": "application/json",
      "x-slow": "1",
    });
    request.on("error", () => undefined).resume();
    request.write("{");
    await until(() => opened.length > 0);
    const closed = new Promise((resolve) => request.once("close", resolve));
    request.close(code);
    await closed;
    opened.pop()?.();
    session.destroy();
  }
  const raw = await RawConnection.open(url);
  raw.write(`POST ${get} HTTP/1.1\r\n${host}${json}X-Slow: 1\r\nContent-Length: 10\r\n\r\n{`);
  await until(() => opened.length > 0);
  raw.socket.resetAndDestroy();
  opened.pop()?.();
  await unharmed();
});

test("a host that is none is no error of the gateway", async () => {
  const { url, logged, unharmed } = await counted({ authenticate: () => ({}) });
  const names = ["a b", "[", "a@b:c", "x:99999", "%", "", "999.999.999.999"];
  const statuses = await statusesOf(
    url,
    Object.fromEntries(
      names.map((name) => [
        name,
        `POST ${get}x HTTP/1.1\r\nHost: ${name}\r\n${json}Content-Length: 2\r\n\r\n{}`,
      ]),
    ),
  );
  expect(statuses).toEqual(Object.fromEntries(names.map((name) => [name, "404"])));
  await unharmed();
  const served = await RawConnection.open(url);
  served.write(`POST ${get} HTTP/1.1\r\nHost: [\r\n${json}Content-Length: 2\r\n\r\n{}`);
  expect(await served.statuses()).toEqual(["200"]);
  served.socket.destroy();
  expect(logged.join()).not.toContain("a request failed");
});

test("owners have no more connections at once than the limit, and each has one in its turn", async () => {
  const open = new Set<string>();
  const most: number[] = [];
  const { url } = await counted({
    limits: { maxOwners: 3 },
    authenticate: ({ headers }) => ({ owner: headers.get("x-owner") ?? "_" }),
    connect: async (owner) => {
      const connection = await nats.connect({ owner });
      open.add(owner);
      most.push(open.size);
      void connection.closed.then(() => open.delete(owner));
      return connection;
    },
  });
  for (let i = 0; i < 20; i++) {
    const answer = await postJson(`${url}${get}`, {}, { "X-Owner": `owner-${i}` });
    expect([i, answer.status]).toEqual([i, 200]);
    await until(() => open.size <= 3);
  }
  // The one more is that which is being closed.
  expect(Math.max(...most)).toBeLessThanOrEqual(4);
  const many = await Promise.all(
    Array.from({ length: 20 }, (_, i) => postJson(`${url}${get}`, {}, { "X-Owner": `many-${i}` })),
  );
  expect(new Set(many.map(({ status }) => status))).toEqual(new Set([200, 429]));
});
