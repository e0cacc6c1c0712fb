import { once } from "node:events";
import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from "node:http";
import { connect as connectHttp2, constants } from "node:http2";
import { gzipSync } from "node:zlib";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { expect, onTestFinished, test, vi } from "vitest";
import { RequestSchema } from "../../runtime/test/gen/test/v1/test_pb.js";
import { type TestImpl, until } from "../../runtime/test/support.js";
import { DirectUnary } from "../src/direct-unary.js";
import { frame, header, http2Preface, RawConnection } from "./raw-http.js";
import { useGateway } from "./support.js";

const { nats, gateway } = useGateway();

const path = "/test.v1.TestService/Get";

interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A body that is sent at once, with its length, or in pieces, without one. */
type Body = Uint8Array | readonly Uint8Array[];

/** The answer as it is on the wire, but for the time. */
function post(
  url: string,
  body: Body,
  headers: OutgoingHttpHeaders,
  method = "POST",
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { method, headers, agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => {
        const { date: _date, ...others } = response.headers;
        const all = Buffer.concat(pieces).toString("latin1");
        resolve({ status: response.statusCode, headers: others, body: all });
      });
    });
    sent.on("error", reject);
    if (body instanceof Uint8Array) {
      sent.end(body);
    } else {
      body.forEach((piece) => void sent.write(piece));
      sent.end();
    }
  });
}

/** The same over HTTP/2. */
async function post2(url: string, body: Body, headers: OutgoingHttpHeaders, method = "POST") {
  const session = connectHttp2(url);
  try {
    const isPost = method !== "GET" && method !== "HEAD";
    const stream = session.request(
      { ":path": path, ":method": method, ...headers },
      { endStream: !isPost },
    );
    if (isPost) {
      [body].flat().forEach((piece) => void stream.write(piece));
      stream.end();
    }
    const [{ ":status": status, date: _date, ...others }] = await once(stream, "response");
    const pieces: Buffer[] = [];
    for await (const piece of stream) {
      pieces.push(piece);
    }
    return { status, headers: others, body: Buffer.concat(pieces).toString("latin1") };
  } finally {
    session.destroy();
  }
}

/** Connect's handler takes a request that has this, and it says the same as if it were absent. */
const notShort = { "connect-timeout-ms": "0000060000" };

/** A call of HTTP/1.1. */
function callOf(text: string, headers: Record<string, string> = {}): string {
  const body = JSON.stringify({ text });
  const all = {
    Host: "127.0.0.1",
    "Content-Type": "application/json",
    "Content-Length": body.length,
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`;
}

const texts = {
  "a short message": "short",
  "a long one": "long".repeat(1_000),
  "metadata and trailers": "metadata",
  "an error with details and metadata": "error",
  "an error of the handler's own": "thrown",
};
const malformed = {
  "a field of no type": Uint8Array.of(0x0f),
  "a message that is cut": Uint8Array.of(0x0a, 0x7f, 0x61),
  "JSON of another type": Buffer.from('{"text": 1}'),
};

/** Answers, or fails, as the request says. */
const get: TestImpl["get"] = ({ text }, { requestHeader, responseHeader, responseTrailer }) => {
  if (text === "metadata") {
    responseHeader.append("x-seen", requestHeader.get("x-sent") ?? "nothing");
    responseHeader.append("x-all", [...requestHeader].join(";"));
    responseHeader.append("x-two", "a");
    responseHeader.append("x-two", "b");
    responseTrailer.set("x-end", "yes");
  }
  if (text === "error") {
    const metadata = { "x-why": "because" };
    const details = [{ desc: StringValueSchema, value: { value: "detail" } }];
    throw new ConnectError("it failed", Code.FailedPrecondition, metadata, details);
  }
  if (text === "thrown") {
    throw new Error("a secret");
  }
  return { text };
};

test("the short way of a direct call answers as Connect's handler does, byte for byte", async () => {
  await nats.worker({ get });
  const { url } = await gateway();
  const bodies: [string, string, Uint8Array][] = [
    ...Object.entries(texts).flatMap(([name, text]): [string, string, Uint8Array][] => {
      const message = create(RequestSchema, { text });
      return [
        [name, "application/proto", toBinary(RequestSchema, message)],
        [name, "application/json", Buffer.from(toJsonString(RequestSchema, message))],
        [
          name,
          "Application/JSON; charset=utf-8",
          Buffer.from(`{"text": ${JSON.stringify(text)}, "unknown": 1}`),
        ],
      ];
    }),
    ...Object.entries(malformed).flatMap(([name, body]): [string, string, Uint8Array][] => [
      [name, "application/proto", body],
      [name, "application/json", body],
    ]),
  ];
  // The schema is asked for before.
  await post(url, new Uint8Array(0), { "content-type": "application/proto" });
  for (const [name, type, body] of bodies) {
    for (const accepted of ["identity", "br, gzip"]) {
      const headers = {
        "content-type": type,
        "accept-encoding": accepted,
        "connect-timeout-ms": "60000",
        "x-sent": ["one", "two"],
      };
      const short = await post(url, body, headers);
      // A request that is compressed goes to Connect's handler.
      const long = await post(url, gzipSync(body), { ...headers, "content-encoding": "gzip" });
      expect([name, type, accepted, short]).toEqual([name, type, accepted, long]);
      const short2 = await post2(url, body, headers);
      const long2 = await post2(url, gzipSync(body), { ...headers, "content-encoding": "gzip" });
      expect([name, type, accepted, short2]).toEqual([name, type, accepted, long2]);
    }
  }
});

const oneOf = fc.constantFrom;
const anyText = oneOf(...Object.values(texts), "x".repeat(3_000), "\u20ac\0\ud83d\ude00");

/** A message as JSON or as bytes, or what is none. */
const anyBody = fc.oneof(
  anyText.map((text) => Buffer.from(JSON.stringify({ text }))),
  anyText.map((text) => Buffer.from(toBinary(RequestSchema, create(RequestSchema, { text })))),
  oneOf("", "null", "[]", '{"a":1}', "\ufeff{}", '{"text":"\\ud800"}').map((text) =>
    Buffer.from(text),
  ),
  oneOf(...Object.values(malformed)).map((bytes) => Buffer.from(bytes)),
);

/** A header that most requests lack. */
const sometimes = <T>(...values: T[]) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, oneOf(...values));

const anyHeaders = fc
  .record({
    "content-type": fc.oneof(
      { weight: 3, arbitrary: oneOf("application/json", "application/proto") },
      oneOf(
        ...["Application/Proto", "application/json; charset=utf-8"],
        ...["application/JSON;charset=UTF8", "application/json;  charset=utf-8"],
        ...["application/proto; a=b", "application/json, a/b", "application/connect+json"],
        ...["application/grpc-web", "text/plain", ""],
      ),
    ),
    "accept-encoding": sometimes("", "gzip", "br", "gzip;q=0", "zstd, br , gzip", "*", "identity"),
    "content-encoding": sometimes("", "identity", "Identity", "gzip", "br", "deflate"),
    "connect-timeout-ms": sometimes(
      ...["", "60000", "000060000", "0", "9999999999", "99999999999", "1e5", "60000, 1"],
    ),
    "connect-protocol-version": sometimes("1", "2", ""),
    "x-sent": sometimes<string | string[]>("", "one", ["one", "two"], "a, b", "\u00e9"),
    "x-bin": sometimes("AAEC", "*"),
    "trailer-x": sometimes("a"),
    "jetrpc-timeout-ms": sometimes("1"),
    authorization: sometimes("Bearer secret"),
    expect: sometimes("100-continue"),
    te: sometimes("trailers"),
  })
  .map(
    (all): OutgoingHttpHeaders =>
      Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
  );

const anyRequest = fc.record({
  send: oneOf(post, post2),
  method: oneOf("POST", "POST", "POST", "POST", "POST", "PUT", "GET", "HEAD"),
  isCut: fc.boolean(),
  isPacked: fc.boolean(),
  body: anyBody,
  headers: anyHeaders,
});

test("any request gets the answer of Connect's handler, whichever way it goes", async () => {
  await nats.worker({ get });
  const { url, logged } = await gateway({
    limits: { maxMessageBytes: 2_000 },
    authenticate: ({ responseHeaders }) => {
      responseHeaders.set("x-known", "yes");
      return { owner: "acme", headers: { "X-User": "ada" } };
    },
  });
  await post(url, new Uint8Array(0), { "content-type": "application/proto" });
  let isLong = false;
  let short = 0;
  const { takes } = DirectUnary.prototype;
  const spy = vi.spyOn(DirectUnary.prototype, "takes").mockImplementation(function (
    this: DirectUnary,
    request,
  ) {
    const isShort = !isLong && takes.call(this, request);
    short += isShort ? 1 : 0;
    return isShort;
  });
  onTestFinished(() => spy.mockRestore());
  await fc.assert(
    fc.asyncProperty(anyRequest, async ({ send, method, isCut, isPacked, body, headers }) => {
      const whole = isPacked && headers["content-encoding"] === "gzip" ? gzipSync(body) : body;
      const sent = isCut && /P/.test(method) ? [whole.subarray(0, 5), whole.subarray(5)] : whole;
      const given = method === "GET" || method === "HEAD" ? new Uint8Array(0) : sent;
      isLong = false;
      const answered = await send(url, given, headers, method);
      isLong = true;
      expect(answered).toEqual(await send(url, given, headers, method));
    }),
    { numRuns: 200 },
  );
  expect(short).toBeGreaterThan(40);
  expect(logged).toEqual([]);
});

test("a deadline that is over while the worker works is told the same by both ways", async () => {
  await nats.worker({
    get: async (_request, { signal }) => {
      await once(signal, "abort");
      return {};
    },
  });
  const { url } = await gateway();
  const answers = [];
  for (const timeout of ["100", "00100"]) {
    for (const send of [post, post2]) {
      const headers = { "content-type": "application/json", "connect-timeout-ms": timeout };
      const { status, body } = await send(url, Buffer.from("{}"), headers);
      answers.push([status, JSON.parse(body).code]);
    }
  }
  expect(answers).toEqual(Array(4).fill([504, "deadline_exceeded"]));
});

test("a request of HTTP/2 that is reset in the middle of its body is not taken for a whole one", async () => {
  const seen: string[] = [];
  await nats.worker({
    get: ({ text }) => {
      seen.push(`get ${text}`);
      return { text };
    },
    up: async (requests) => {
      for await (const { text } of requests) {
        seen.push(`up ${text}`);
      }
      seen.push("up, whole");
      return {};
    },
  });
  const { url } = await gateway();
  const half = toBinary(RequestSchema, create(RequestSchema, { text: "half" }));
  const envelope = Buffer.concat([Uint8Array.of(0, 0, 0, 0, half.length), half]);
  await post(url, new Uint8Array(0), { "content-type": "application/proto" });
  seen.length = 0;
  for (const code of [constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_CANCEL]) {
    for (const [method, type, bytes, headers] of [
      ["Get", "application/proto", half, {}],
      ["Get", "application/proto", half, notShort],
      ["Get", "application/grpc", envelope, {}],
      ["Up", "application/connect+proto", envelope, {}],
      ["Up", "application/grpc", envelope, {}],
    ] as const) {
      const raw = await RawConnection.open(url);
      const fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": `/test.v1.TestService/${method}`,
        ":authority": "127.0.0.1",
        "content-type": type,
        ...headers,
      };
      const all = Object.entries(fields).map(([name, value]) => header(name, value));
      raw.write(http2Preface);
      raw.write(Buffer.concat([frame(1, 4, 1, Buffer.concat(all)), frame(0, 0, 1, bytes)]));
      if (method === "Up") {
        await expect.poll(() => seen.splice(0), { timeout: 20_000 }).toContain("up half");
      }
      raw.write(frame(3, 0, 1, Uint8Array.of(0, 0, 0, code)));
      // It is there when a ping after it is answered.
      const before = raw.bytes.length;
      raw.write(frame(6, 0, 0, Buffer.alloc(8)));
      await until(() => raw.bytes.length > before);
      raw.socket.destroy();
    }
  }
  await post(url, Buffer.from('{"text":"last"}'), { "content-type": "application/json" });
  expect(seen).toEqual(["get last"]);
});

test("a body that is not as long as it says, or too long, and a deadline of nothing are told", async () => {
  await nats.worker({ get: ({ text }) => ({ text }) });
  const { url } = await gateway({ limits: { maxMessageBytes: 1_000 } });
  const json = { "content-type": "application/json" };
  const small = Buffer.from("{}");
  expect(await post(url, small, json)).toMatchObject({ status: 200 });
  for (const headers of [{}, { "transfer-encoding": "chunked" }]) {
    const answer = await post(url, Buffer.alloc(2_000, " "), { ...json, ...headers });
    expect(answer).toMatchObject({
      status: 429,
      body: expect.stringContaining("larger than configured readMaxBytes 1000"),
    });
  }
  expect(await post(url, small, { ...json, "connect-timeout-ms": "0" })).toMatchObject({
    status: 504,
  });
  expect(await post(url, small, { ...json, "connect-timeout-ms": "soon" })).toMatchObject({
    status: 400,
  });
});

test("calls whose client leaves in the middle of its body, or stops, reach no worker", async () => {
  let calls = 0;
  await nats.worker({
    get: ({ text }) => {
      calls += 1;
      return { text };
    },
  });
  const { url } = await gateway({ limits: { maxConcurrentCalls: 2 } });
  const json = { "content-type": "application/json" };
  expect(await post(url, Buffer.from("{}"), json)).toMatchObject({ status: 200 });
  const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"text"`;
  for (let round = 0; round < 5; round++) {
    const raw = await RawConnection.open(url);
    raw.write(head);
    raw.socket.end();
    raw.socket.destroy();
    await raw.closed;
  }
  // None of them is still counted.
  await expect
    .poll(async () => {
      const both = await Promise.all([
        post(url, Buffer.from("{}"), json),
        post(url, Buffer.from("{}"), json),
      ]);
      return both.map(({ status }) => status);
    })
    .toEqual([200, 200]);
  expect(calls).toBeGreaterThan(2);
});

test("a client that leaves ends all calls that it has sent one after the other", async () => {
  let running = 0;
  let ended = 0;
  await nats.worker({
    get: async ({ text }, { signal }) => {
      if (text === "wait") {
        running += 1;
        await once(signal, "abort");
        ended += 1;
      }
      return { text };
    },
  });
  const { url } = await gateway({ limits: { maxConcurrentCalls: 3 } });
  for (const headers of [{}, notShort]) {
    running = 0;
    ended = 0;
    const raw = await RawConnection.open(url);
    raw.write(callOf("wait", headers).repeat(3));
    await expect.poll(() => running).toBe(3);
    raw.socket.destroy();
    await expect.poll(() => ended).toBe(3);
    // None of them is still counted.
    const json = { "content-type": "application/json" };
    const again = Array.from({ length: 3 }, () => post(url, Buffer.from("{}"), json));
    expect((await Promise.all(again)).map(({ status }) => status)).toEqual([200, 200, 200]);
  }
});

test("metadata that HTTP does not carry is told, and not that the call has not run", async () => {
  await nats.worker({
    get: ({ text }, { responseHeader }) => {
      responseHeader.set("x-bell", "a\x07b");
      return { text };
    },
  });
  const { url } = await gateway();
  const json = { "content-type": "application/json" };
  for (const send of [post, post2]) {
    for (const headers of [{}, notShort]) {
      const answer = await send(url, Buffer.from("{}"), { ...json, ...headers });
      expect(answer).toMatchObject({ status: 500 });
      expect(JSON.parse(answer.body)).toEqual({
        code: "internal",
        message: expect.stringContaining("x-bell"),
      });
      expect(answer.headers).not.toHaveProperty("jetrpc-not-run");
    }
  }
});

test("a deadline that is longer than a timer of Node is no deadline that is over", async () => {
  await nats.worker({ get: ({ text }) => ({ text }) });
  const { url } = await gateway();
  const body = new Uint8Array(5);
  for (const headers of [
    { "content-type": "application/json", "connect-timeout-ms": "9999999999" },
    { "content-type": "application/json", "connect-timeout-ms": String(2 ** 31) },
  ]) {
    expect(await post(url, Buffer.from("{}"), headers)).toMatchObject({ status: 200 });
  }
  for (const timeout of ["99999999H", "99999999M", "99999999S", "597H"]) {
    const headers = { "content-type": "application/grpc-web", "grpc-timeout": timeout };
    const answer = await post(url, body, headers);
    expect([timeout, answer.body]).toEqual([timeout, expect.stringContaining("grpc-status: 0")]);
  }
});
