import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import { startNats } from "@jetrpc/testing";
import { headers } from "@nats-io/transport-node";
import { expect, onTestFinished, test } from "vitest";
import { useProcesses } from "./process.js";
import { storeRaw, withLines } from "./raw-headers.js";
import { until, useNats } from "./support.js";
import { Stops, WireTap } from "./wire-tap.js";

const nats = useNats();
const start = useProcesses();

test("an attempt that the server has forgotten, and that left no trace, is counted", async () => {
  const directory = await mkdtemp(join(tmpdir(), "jetrpc-attempts-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const storeDir = join(directory, "store");
  const consumer = join(storeDir, "jetstream/$G/streams/TEST/obs/Do");
  let server = await startNats({ storeDir });
  onTestFinished(() => server.stop());
  const { url, port } = server;
  const runWorker = async () => {
    const worker = start("attempts-worker.mjs", nats.environment("worker", url));
    await worker.says("ready");
    return worker;
  };
  const client = await nats.client({ url });
  const first = await runWorker();
  await client.do({});
  await first.end("SIGTERM");
  const call = await client.do.submit({ text: "poison" });
  await server.stop();
  await cp(consumer, join(directory, "kept"), { recursive: true });
  server = await startNats({ storeDir, port });
  const workers = [await runWorker()];
  await until(() => workers[0]?.child.signalCode === "SIGKILL");
  // Killed within a tenth of a second after the delivery, it does not know of it.
  await server.stop();
  await rm(consumer, { recursive: true });
  await cp(join(directory, "kept"), consumer, { recursive: true });
  server = await startNats({ storeDir, port });
  let hasEnded = false;
  const result = call.result().finally(() => {
    hasEnded = true;
  });
  result.catch(() => undefined);
  while (!hasEnded) {
    const worker = await runWorker();
    workers.push(worker);
    await until(() => hasEnded || worker.child.signalCode === "SIGKILL");
  }
  await expect(result).rejects.toMatchObject({ code: Code.Internal });
  const begun = workers.flatMap(({ heard }) => heard.filter((line) => line.startsWith("begun")));
  // One that may have begun counts, too: there may be less, and never more.
  expect(new Set(begun).size).toBe(begun.length);
  expect(begun.length).toBeLessThanOrEqual(3);
});

test("a consumer that is made anew does not make attempts anew", async () => {
  const root = await nats.connect();
  const attempts: number[] = [];
  await nats.worker({
    do: async (_, { attempt }) => {
      attempts.push(attempt);
      await root.nats.request("$JS.API.CONSUMER.DELETE.TEST.Do");
      throw new ConnectError("again", Code.Unavailable);
    },
  });
  const client = await nats.client();
  await expect(client.do({})).rejects.toMatchObject({ rawMessage: "again" });
  expect(attempts).toEqual([1, 2, 3]);
});

test("a request that is given back without being begun gives no attempt back", async () => {
  const root = await nats.connect();
  const stops = new Stops();
  const tap = await WireTap.start(nats.server.port, stops);
  onTestFinished(() => tap.close());
  const client = await nats.client();
  const call = await client.do.submit({}, { callId: "third" });
  const request = await root.nats.request(
    "$JS.API.DIRECT.GET.TEST.test.v1.TestService.queue.Do._._.third",
  );
  const sequence = request.headers?.get("Nats-Sequence");
  let last = 0;
  for (const entry of [
    `attempt 1 ${sequence} 1`,
    "retry 1",
    `attempt 2 ${sequence} 2`,
    "retry 2",
  ]) {
    const block = headers();
    block.set("Jetrpc-Entry", entry);
    block.set("Nats-Expected-Last-Subject-Sequence", `${last}`);
    const status = entry.startsWith("retry") ? Buffer.from("080e1203626164", "hex") : "";
    const reply = await root.nats.request("test.v1.TestService.log.Do._._.third.entry", status, {
      headers: block,
      timeout: 60_000,
    });
    last = (reply.json() as { seq: number }).seq;
  }
  const leaving = await nats.worker({ do: () => ({}) }, { url: tap.url });
  await stops.add("third", "before", ({ isSent, subject }) => {
    return !isSent && subject === "test.v1.TestService.queue.Do._._.third";
  });
  const drained = leaving.drain();
  stops.release();
  await drained;
  const attempts: number[] = [];
  await nats.worker({
    do: (_, { attempt }) => {
      attempts.push(attempt);
      throw new ConnectError("again", Code.Unavailable);
    },
  });
  await expect(call.result()).rejects.toMatchObject({ rawMessage: "again" });
  expect(attempts).toEqual([3]);
});

test("a request whose claim is lost holds no slot and has no heartbeat: it comes again", async () => {
  const client = await nats.client();
  const held = await client.do.submit({ text: "held" }, { callId: "held" });
  const root = (await nats.connect()).nats;
  const info = (await root.request("$JS.API.STREAM.INFO.TEST")).json<{
    state: { last_seq: number };
  }>();
  // The claim of a delivery that comes after the first one of the worker.
  await storeRaw(
    root,
    "test.v1.TestService.log.Do._._.held.entry",
    withLines("NATS/1.0\r\n\r\n", `Jetrpc-Entry: attempt 1 ${info.state.last_seq} 2`),
  );
  const ran: string[] = [];
  const worker = await nats.worker(
    {
      do: ({ text }, { attempt }) => {
        ran.push(`${text} ${attempt}`);
        return {};
      },
    },
    { concurrency: 1 },
  );
  await until(() => worker.logged.some(({ message }) => message === "an attempt lost its claim"));
  await client.do({ text: "next" });
  await held.result();
  expect(ran).toEqual(["next 1", "held 2"]);
});
