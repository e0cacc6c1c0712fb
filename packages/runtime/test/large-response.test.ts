import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import {
  type Connection,
  createClient,
  type DurableUnaryMethod,
  startWorker,
} from "@jetrpc/runtime";
import { expect, onTestFinished, test } from "vitest";
import { EdgeService, type RequestSchema, type ResponseSchema } from "./gen/test/v1/test_pb.js";
import { useProcesses } from "./process.js";
import { type TestImpl, until, useNats } from "./support.js";

const nats = useNats();
const start = useProcesses();

/** A connection to the server that takes so many bytes a second. */
async function startSlowProxy(port: number, bytesPerSecond: number): Promise<string> {
  const sockets = new Set<Socket>();
  const proxy = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    far.pipe(near);
    near.on("data", (data) => {
      far.write(data);
      near.pause();
      setTimeout(() => near.resume(), (data.length / bytesPerSecond) * 1_000);
    });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => undefined).on("close", () => [near, far].map((s) => s.destroy()));
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => {
    for (const socket of sockets) {
      socket.destroy();
    }
    proxy.close();
  });
  return `nats://127.0.0.1:${(proxy.address() as { port: number }).port}`;
}

async function stored({ nats }: Connection, service: string): Promise<number> {
  const reply = await nats.request(`$JS.API.STREAM.INFO.OBJ_${service}_PAYLOAD`);
  return (reply.json() as { state?: { messages: number } }).state?.messages ?? 0;
}

async function createEdgeClient() {
  const connection = await nats.connect();
  return createClient<{ run: DurableUnaryMethod<typeof RequestSchema, typeof ResponseSchema> }>(
    EdgeService,
    connection,
  );
}

test("a response that takes longer than ack_wait to store costs one attempt", async () => {
  // The ack_wait of this method is 15 s: a worker on a busy machine is not taken for lost.
  const url = await startSlowProxy(nats.server.port, 500_000);
  const attempts: number[] = [];
  const global: TestImpl["global"] = ({ count }, { attempt }) => {
    attempts.push(attempt);
    return { index: attempt, data: new Uint8Array(count) };
  };
  await nats.worker({ global }, { url });
  const { index, data } = await (await nats.client()).global({ count: 9_000_000 });
  expect({ index, size: data.length }).toEqual({ index: 1, size: 9_000_000 });
  expect(attempts).toEqual([1]);
});

test("what an attempt has stored of its response goes when its worker is killed", async () => {
  const root = await nats.connect();
  const url = await startSlowProxy(nats.server.port, 1_000_000);
  const killed = start("response-worker.mjs", nats.environment("worker", url));
  await killed.says("ready");
  const client = await createEdgeClient();
  const call = await client.run.submit({ count: 8_000_000 });
  await until(async () => (await stored(root, "EDGE")) > 4);
  await killed.end("SIGKILL");
  const worker = await startWorker(
    EdgeService,
    { run: (_, { attempt }) => ({ index: attempt }) },
    await nats.connect(),
  );
  onTestFinished(() => worker.drain());
  // On a busy machine the second attempt may be lost as well.
  expect((await call.result()).index).toBeGreaterThanOrEqual(2);
  await until(async () => (await stored(root, "EDGE")) === 0);
});

test("what an attempt has stored of its response goes when it fails", async () => {
  const root = await nats.connect();
  const url = await startSlowProxy(nats.server.port, 1_000_000);
  // Longer than an attempt of it may take.
  await nats.worker({ limited: () => ({ data: new Uint8Array(6_000_000) }) }, { url });
  const client = await nats.client();
  await expect(client.limited({})).rejects.toMatchObject({
    // On a busy machine the server may take a worker for lost.
    rawMessage: expect.stringMatching(
      /^attempt 2 took longer than 300 ms|^gave up after 2 attempts/,
    ),
  });
  await until(async () => (await stored(root, "TEST")) === 0);
});
