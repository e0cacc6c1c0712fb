import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { blobOf, createClient, openBlob, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { expect, test } from "vitest";
import { type BlobClient, bytes, sha256 } from "../../runtime/test/blob-support.js";
import { BlobService } from "../../runtime/test/gen/test/v1/blob_pb.js";
import { makeStreams, TestUsers } from "../../runtime/test/secured.js";
import { gate, until } from "../../runtime/test/support.js";
import { digestOf, offsetOf, put, readersAt, rest } from "./blob-client.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway, worker } = useGateway();

const services = [BlobService];
const copy = "test.v1.BlobService/Copy";
const target = (url: string, callId: string) => `${url}/blobs/${copy}/${callId}/0`;

/** Where the Blob of a call is downloaded that answers with these bytes. */
async function stored(url: string, all: Uint8Array): Promise<string> {
  await worker(BlobService, { copy: () => ({ file: blobOf(all) }) });
  const answer = await postJson(`${url}/${copy}`, {});
  const { file } = (await answer.json()) as { file: Record<string, string> };
  const { object, ...fields } = file;
  return `${url}/blobs/test.v1.BlobService/${object}?${new URLSearchParams(fields)}`;
}

test("HTTP/2: an upload that is cut is not complete, and another connection takes the rest", async () => {
  const { url } = await gateway({ services });
  const all = bytes(2_000_000);
  const path = `/blobs/${copy}/h2/0`;
  const send = async (part: Uint8Array, cut: boolean, headers: Record<string, string> = {}) => {
    const session = connectHttp2(url);
    session.on("error", () => undefined);
    const stream = session.request({ ":method": "PUT", ":path": path, ...headers });
    stream.on("error", () => undefined);
    const answered = once(stream, "response").catch(() => [{}]);
    stream.write(part);
    if (cut) {
      await until(async () => (await offsetOf(url + path)) >= 131_072);
      session.destroy();
    } else {
      stream.end();
    }
    const [response] = cut ? [{}] : await answered;
    stream.resume();
    session.destroy();
    return response as Record<string, unknown>;
  };
  // Its size is not known: only its end says that it is whole.
  await send(all.subarray(0, 700_000), true);
  await until(async () => {
    const from = await offsetOf(url + path);
    const response = await send(all.subarray(from), false, rest(all, from));
    return response[":status"] === 201;
  });
  const done = await fetch(url + path, { method: "HEAD" });
  expect(done.headers.get("upload-complete")).toBe("?1");
  const again = await put(url + path, new Uint8Array(0), {
    headers: { "content-range": `bytes */${all.length}` },
  });
  expect(again).toMatchObject({ status: 200, text: expect.stringContaining(digestOf(all)) });
});

test("a gateway that stops tells an upload how far it came, and another one takes the rest", async () => {
  const [first, second] = [
    await gateway({ services, drainTimeoutMs: 100 }),
    await gateway({ services }),
  ];
  const all = bytes(1_000_000);
  const begun = gate();
  const never = new Promise(() => undefined);
  const sent = put(target(first.url, "drain"), all, {
    halfway: async () => {
      await until(async () => (await offsetOf(target(first.url, "drain"))) > 0);
      begun.open();
      await never;
    },
  });
  await begun.opened;
  await first.drain();
  const told = await sent;
  const from = await offsetOf(target(second.url, "drain"));
  // On a busy machine the connection may end before it is told.
  expect([told?.status ?? 503, told?.headers["upload-offset"] ?? String(from)]).toEqual([
    503,
    String(from),
  ]);
  expect(from).toBeGreaterThan(0);
  expect(
    await put(target(second.url, "drain"), all.subarray(from), { headers: rest(all, from) }),
  ).toMatchObject({ status: 201, text: expect.stringContaining(digestOf(all)) });
});

test("an upload goes on when the NATS server is killed and comes back", async () => {
  const server = await nats.start();
  const { url } = await gateway({
    services,
    connect: (owner) => connect({ owner, nats: { servers: server.url, reconnectTimeWait: 50 } }),
  });
  const all = bytes(6_000_000);
  const answer = await put(target(url, "killed"), all, {
    halfway: async () => {
      await until(async () => (await offsetOf(target(url, "killed"))) > 0);
      await server.kill();
      await server.restart();
    },
  });
  expect(answer).toMatchObject({ status: 201, text: expect.stringContaining(digestOf(all)) });
  await server.stop();
});

test("a download that its client leaves, and one that it does not read, stop reading", async () => {
  const { url } = await gateway();
  const link = await stored(url, bytes(24_000_000));
  const response = await new Promise<IncomingMessage>((resolve) => get(link, resolve));
  response.pause();
  expect(response.statusCode).toBe(200);
  expect(await readersAt(nats.server.url)).toBe(1);
  response.destroy();
  await until(async () => (await readersAt(nats.server.url)) === 0);
});

test("with the rights of a client the owner's connection carries Blobs", async () => {
  const grant = { service: BlobService };
  const users = new TestUsers({
    worker: [{ ...grant, role: "worker" }],
    acme: [{ ...grant, role: "client", owner: "acme" }],
  });
  await using server = await startNats({ config: users.config });
  const as = (name: string, owner = name) =>
    connect({ owner, nats: { servers: server.url, ...users.options(name) } });
  await using root = await as("root", "_");
  await makeStreams(root, services);
  await using workers = await as("worker", "_");
  const working = await startWorker(
    BlobService,
    { copy: ({ file }) => ({ file: blobOf(() => openBlob(file)) }) },
    workers,
  );
  const { url } = await gateway({
    services,
    authenticate: () => ({ owner: "acme" }),
    connect: (owner) => as(owner === "_" ? "root" : owner, owner),
  });
  const all = bytes(2_000_000);
  const path = target(url, "rights");
  await put(path, all.subarray(0, 900_000), { headers: rest(all, 0, 900_000) });
  const answer = await put(path, all.subarray(900_000), { headers: rest(all, 900_000) });
  expect(answer).toMatchObject({ status: 201 });
  const blob = JSON.parse(answer?.text ?? "");
  const response = await postJson(
    `${url}/${copy}`,
    { file: blob },
    { "Idempotency-Key": "rights" },
  );
  const { file } = (await response.json()) as { file: Record<string, string> };
  const { object, ...fields } = file;
  const link = `${url}/blobs/test.v1.BlobService/${object}?${new URLSearchParams(fields)}`;
  const part = await fetch(link, { headers: { range: "bytes=1500000-1500009" } });
  expect(sha256(Buffer.from(await part.arrayBuffer()))).toBe(
    sha256(all.subarray(1_500_000, 1_500_010)),
  );
  await working.drain();
});

test("a client of NATS reads what a file became that came over HTTP", async () => {
  await worker(BlobService, { copy: ({ file }) => ({ file: blobOf(() => openBlob(file)) }) });
  const { url } = await gateway();
  const all = bytes(500_000);
  const answer = await put(target(url, "nats"), all);
  const blob = JSON.parse(answer?.text ?? "");
  const headers = { "Idempotency-Key": "nats", Prefer: "respond-async" };
  expect((await postJson(`${url}/${copy}`, { file: blob }, headers)).status).toBe(202);
  const client = createClient<BlobClient>(BlobService, await nats.connect());
  const { file } = await client.copy.attach("nats").result();
  expect(file?.digest).toBe(digestOf(all));
});
