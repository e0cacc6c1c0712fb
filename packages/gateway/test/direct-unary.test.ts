import { once } from "node:events";
import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { gzipSync } from "node:zlib";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { RequestSchema } from "../../runtime/test/gen/test/v1/test_pb.js";
import { RawConnection } from "./raw-http.js";
import { useGateway } from "./support.js";

const { nats, gateway } = useGateway();

const path = "/test.v1.TestService/Get";

interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** The answer as it is on the wire, but for the time. */
function post(url: string, body: Uint8Array, headers: OutgoingHttpHeaders): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { method: "POST", headers, agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => {
        const { date: _date, ...others } = response.headers;
        const all = Buffer.concat(pieces).toString("latin1");
        resolve({ status: response.statusCode, headers: others, body: all });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** The same over HTTP/2. */
async function post2(url: string, body: Uint8Array, headers: OutgoingHttpHeaders) {
  const session = connectHttp2(url);
  try {
    const stream = session.request({ ":path": path, ":method": "POST", ...headers });
    stream.end(body);
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

test("the short way of a direct call answers as Connect's handler does, byte for byte", async () => {
  await nats.worker({
    get: ({ text }, { requestHeader, responseHeader, responseTrailer }) => {
      if (text === "metadata") {
        responseHeader.append("x-seen", requestHeader.get("x-sent") ?? "nothing");
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
    },
  });
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
