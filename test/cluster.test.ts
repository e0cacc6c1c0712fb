import { rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type Connection, createClient, startWorker, type Worker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { bindService } from "@jetrpc/runtime/schema";
import { type NatsCluster, type NatsServer, startNatsCluster } from "@jetrpc/testing";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { Kind } from "../packages/chaos/src/gen/chaos/v1/chaos_pb.js";
import { type ChaosClient, serviceFor } from "../packages/chaos/src/service.js";
import { Load } from "./load.js";

// An election takes up to 9 s, and several are needed.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

/** Three servers with a copy of each stream, two workers, and a client that does not stop. */
let cluster: NatsCluster;
let workers: Worker[];
let connection: Connection;
let client: ChaosClient;
let load: Load;

beforeEach(async () => {
  cluster = await startNatsCluster({
    config: 'lame_duck_duration: "30s"\nlame_duck_grace_period: "1s"\n',
  });
  const open = () => connect({ nats: { servers: cluster.urls } });
  const work = ({ value }: { readonly value: number }) => ({ value });
  workers = [];
  for (const own of [await open(), await open()]) {
    workers.push(await startWorker(serviceFor(3), { work }, own));
    void workers.at(-1)?.closed.then(() => own.close());
  }
  connection = await open();
  client = createClient<ChaosClient>(serviceFor(3), connection);
  load = new Load(async (value, callId) => {
    const call = await client.work.submit({ kind: Kind.QUICK, value, milliseconds: 0 }, { callId });
    expect((await call.result()).value).toBe(value);
  });
});

afterEach(async () => {
  await load?.stop();
  await Promise.all(workers?.map((worker) => worker.drain()) ?? []);
  await connection?.close();
  await cluster?.stop();
});

interface StreamInfo {
  readonly cluster: {
    readonly leader?: string;
    readonly replicas: readonly { readonly current: boolean }[];
  };
  readonly state: { readonly messages: number };
}

const { stream: queue } = bindService(serviceFor(3));

async function info(stream: string): Promise<StreamInfo> {
  return (await connection.nats.request(`$JS.API.STREAM.INFO.${stream}`)).json();
}

async function leaderOf(stream: string): Promise<NatsServer> {
  const { leader } = (await info(stream)).cluster;
  return cluster.servers[Number(leader?.slice(1)) - 1] as NatsServer;
}

/** Whatever was accepted is in the log, whoever leads it now. */
async function nothingIsLost(): Promise<void> {
  const failures = await load.stop();
  expect(failures).toEqual([]);
  await Promise.all(
    load.done.map(async ([value, callId]) => {
      expect((await client.work.attach(callId).result()).value).toBe(value);
    }),
  );
  await expect.poll(async () => (await info(queue)).state.messages).toBe(0);
}

test("the streams have three copies by one option of the schema", async () => {
  for (const stream of [queue, `${queue}_LOG`]) {
    expect((await info(stream)).cluster.replicas).toHaveLength(2);
  }
});

test("kill -9 of the server that leads loses nothing, and calls go on", async () => {
  for (const stream of [queue, `${queue}_LOG`]) {
    await load.more(200);
    const server = await leaderOf(stream);
    await server.kill();
    await load.more(200);
    await server.restart();
    await cluster.whenReady();
  }
  await load.more(200);
  await nothingIsLost();
});

test("a server that comes back with nothing takes a copy, which is as good as the others", async () => {
  await load.more(200);
  const [replaced, other] = cluster.servers as [NatsServer, NatsServer];
  await replaced.kill();
  rmSync(replaced.storeDir, { recursive: true });
  await replaced.restart();
  await cluster.whenReady();
  // Now two of three are needed, and the new one is one of them.
  await other.kill();
  await load.more(200);
  await nothingIsLost();
});

test("a worker that starts while JetStream has no leader waits for one", async () => {
  expect(await load.stop()).toEqual([]);
  const [first, ...others] = cluster.servers as [NatsServer, NatsServer, NatsServer];
  const own = await connect({ nats: { servers: first.url } });
  onTestFinished(() => own.close());
  const subject = `$JS.API.CONSUMER.INFO.${queue}.Work`;
  for (const server of others) {
    server.suspend();
  }
  try {
    await expect
      .poll(async () => (await own.nats.request(subject)).json(), { timeout: 60_000 })
      .toMatchObject({ error: { description: "JetStream system temporarily unavailable" } });
    const start = startWorker(serviceFor(3), { work: ({ value }) => ({ value }) }, own);
    expect(await Promise.race([start.then(() => "started", String), delay(1_000)])).toBeUndefined();
    for (const server of others) {
      server.resume();
    }
    workers.push(await start);
  } finally {
    for (const server of others) {
      server.resume();
    }
  }
});

test("a rolling upgrade fails no call", async () => {
  for (const server of cluster.servers) {
    await load.more(100);
    await server.restart("SIGUSR2");
    await cluster.whenReady();
  }
  await load.more(100);
  await nothingIsLost();
});
