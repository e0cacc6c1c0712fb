import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Connection,
  createClient,
  type DurableUnaryMethod,
  startWorker,
} from "@jetrpc/runtime";
import { expect, onTestFinished, test } from "vitest";
import { type RequestSchema, type ResponseSchema, TestService } from "./gen/test/v1/test_pb.js";
import { useProcesses } from "./process.js";
import { gate, until, useNats } from "./support.js";

const nats = useNats();
const start = useProcesses();

/** Together far above what a server keeps for one connection, 64 MB. */
const count = 500;
const size = 1_000_000;

test("hundreds of results of 1 MB arrive at a client that stood still, and cut no connection", async () => {
  const directory = await mkdtemp(join(tmpdir(), "jetrpc-results-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, "go");
  const data = new Uint8Array(size).fill(7);
  const released = gate();
  let begun = 0;
  const run = async () => {
    begun++;
    await released.opened;
    return { data };
  };
  const root = await nats.connect();
  await startWorker(TestService, { picky: run }, await nats.connect(), { concurrency: count });
  const client = start("large-results-client.mjs", nats.environment("root"), `${count}`, file);
  await until(() => begun === count);
  client.write("stand still");
  await client.says("stands still");
  released.open();
  await until(async () => {
    const info = await root.nats.request("$JS.API.STREAM.INFO.TEST");
    return info.json<{ state: { messages: number } }>().state.messages === 0;
  });
  await writeFile(file, "");
  const said = await client.hears((line) => line.startsWith("{"));
  expect(JSON.parse(said ?? "{}")).toEqual({ cuts: 0, sizes: [size] });
});

type Run = DurableUnaryMethod<typeof RequestSchema, typeof ResponseSchema>;

async function countObjects({ nats }: Connection): Promise<number> {
  const reply = await nats.request("$JS.API.STREAM.INFO.OBJ_TEST_PAYLOAD");
  return (reply.json() as { state?: { messages: number } }).state?.messages ?? 0;
}

test("a call that becomes due does not show that its client reads", async () => {
  const connection = await nats.connect();
  const client = createClient<{ picky: Run }>(TestService, connection);
  const start = Date.now() + 1_000;
  const notBefore = (i: number) => new Date(start + i * 200);
  const submissions = Array.from({ length: 12 }, (_, i) =>
    client.picky.submit({}, { notBefore: notBefore(i) }),
  );
  const calls = await Promise.all(submissions);
  const data = new Uint8Array(size).fill(7);
  await startWorker(TestService, { picky: () => ({ data }) }, await nats.connect());
  for (const call of calls) {
    expect((await call.result()).data.length).toBe(size);
  }
  expect(await countObjects(connection)).toBeGreaterThan(0);
});

test("a client that gives ids and reads each result before it submits again gets them live", async () => {
  const connection = await nats.connect();
  const client = createClient<{ picky: Run }>(TestService, connection);
  const data = new Uint8Array(size).fill(7);
  await startWorker(TestService, { picky: () => ({ data }) }, await nats.connect());
  for (let i = 0; i < 12; i++) {
    const call = await client.picky.submit({}, { callId: `id-${i}` });
    expect((await call.result()).data.length).toBe(size);
  }
  expect(await countObjects(connection)).toBe(0);
});
