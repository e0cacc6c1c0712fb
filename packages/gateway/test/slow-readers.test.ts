import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { blobOf } from "@jetrpc/runtime";
import { expect, test } from "vitest";
import { bytes } from "../../runtime/test/blob-support.js";
import { BlobService } from "../../runtime/test/gen/test/v1/blob_pb.js";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { gate, until } from "../../runtime/test/support.js";
import { readersAt } from "./blob-client.js";
import { RawConnection } from "./raw-http.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway, worker } = useGateway();

const limits = { writeTimeoutMs: 1_500 };
const down = "/test.v1.TestService/Down";

/** A worker whose messages fill every buffer on the way to a client that reads nothing. */
async function large() {
  const ended = gate();
  await nats.worker({
    async *down() {
      try {
        for (let index = 0; index < 1_000; index++) {
          yield { index, data: new Uint8Array(200_000) };
        }
      } finally {
        ended.open();
      }
    },
  });
  return ended;
}

/** Where the Blob of a call is downloaded. */
async function download(url: string): Promise<string> {
  const content = bytes(24_000_000);
  await worker(BlobService, { copy: () => ({ file: blobOf(content) }) });
  let file: Record<string, string> = {};
  // A busy machine may take longer to store so much than the attempts of a call have.
  await until(async () => {
    const answer = await postJson(`${url}/test.v1.BlobService/Copy`, {});
    ({ file = {} } = (await answer.json()) as { file?: Record<string, string> });
    return file["object"] !== undefined;
  });
  const { object, ...fields } = file;
  return `/blobs/test.v1.BlobService/${object}?${new URLSearchParams(fields)}`;
}

/** Resolves with what waits until the next download has begun, and has ended. */
async function nextDownload(): Promise<() => Promise<void>> {
  const begun = gate();
  const root = await nats.connect();
  root.nats.subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.OBJ_BLOB_PAYLOAD.>", {
    callback: begun.open,
  });
  await root.nats.flush();
  return async () => {
    await begun.opened;
    await until(async () => (await readersAt(nats.server.url)) === 0);
  };
}

test("HTTP/1.1: a client that reads nothing of a download, or of a stream, loses its connection", async () => {
  const ended = await large();
  const { url } = await gateway({ limits });
  const path = await download(url);
  const hasEnded = await nextDownload();
  const body = "\0\0\0\0\0";
  const requests = [
    [`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`, hasEnded],
    [
      `POST ${down} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/connect+proto\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      () => ended.opened,
    ],
  ] as const;
  for (const [request, end] of requests) {
    const raw = await RawConnection.open(url);
    raw.socket.pause();
    raw.write(request);
    await end();
    // What was on its way is read, and then the connection ends.
    raw.socket.resume();
    await raw.closed;
  }
});

test("HTTP/2: a client that reads nothing of a download, or of a stream, loses its request", async () => {
  const ended = await large();
  const { url } = await gateway({ limits });
  const path = await download(url);
  const hasEnded = await nextDownload();
  const post = { ":path": down, ":method": "POST", "content-type": "application/connect+proto" };
  const requests = [
    [{ ":path": path }, undefined, hasEnded],
    [post, new Uint8Array(5), () => ended.opened],
  ] as const;
  for (const [request, body, end] of requests) {
    const session = connectHttp2(url);
    const stream = session.request(request);
    stream.on("error", () => undefined);
    const closed = once(stream, "close");
    if (body) {
      stream.end(body);
    }
    await end();
    stream.resume();
    await closed;
    expect(stream.rstCode).not.toBe(0);
    session.destroy();
  }
});

test("a call behind a large answer of its connection may take its time", async () => {
  // On a busy machine a client that only waits for its second call may be taken for one that reads nothing.
  for (const writeTimeoutMs of [2_000, 20_000, 90_000]) {
    const { opened, open } = gate();
    const begun = gate();
    const serving = await nats.worker({
      get: async ({ text }) => {
        if (text === "slow") {
          begun.open();
          await opened;
          return { text };
        }
        return { data: new Uint8Array(4_000_000) };
      },
    });
    const { url } = await gateway({ limits: { writeTimeoutMs } });
    const post = (body: string) =>
      `POST /test.v1.TestService/Get HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnect-Timeout-Ms: 600000\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const raw = await RawConnection.open(url);
    raw.socket.pause();
    raw.write(post("{}") + post('{"text":"slow"}'));
    await begun.opened;
    raw.socket.resume();
    await until(() => raw.bytes.length > 4_000_000 || raw.socket.destroyed);
    const hasLargeOne = raw.bytes.length > 4_000_000;
    if (hasLargeOne) {
      const began = performance.now();
      await until(() => performance.now() - began > 2 * writeTimeoutMs);
    }
    open();
    if (hasLargeOne) {
      await until(async () => (await raw.statuses()).length === 2 || raw.socket.destroyed);
      expect(await raw.statuses()).toEqual(["200", "200"]);
      raw.socket.destroy();
      return;
    }
    await serving.drain();
  }
  throw new Error("no answer was read before the time-out");
});

test("a stream that waits for its worker is not taken for one that nobody reads", async () => {
  const go = gate();
  await nats.worker({
    async *down() {
      yield { index: 0, data: new Uint8Array(1_000_000) };
      await go.opened;
      yield { index: 1 };
    },
  });
  const { url } = await gateway({ limits: { writeTimeoutMs: 500 } });
  const client = createClient(TestService, createGrpcTransport({ baseUrl: url }));
  const messages = client.down({})[Symbol.asyncIterator]();
  expect((await messages.next()).value).toMatchObject({ index: 0 });
  const began = performance.now();
  await until(() => performance.now() - began > 2_000);
  go.open();
  expect((await messages.next()).value).toMatchObject({ index: 1 });
  expect((await messages.next()).done).toBe(true);
});
