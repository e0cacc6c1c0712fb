import { existsSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { findNatsServer } from "../src/find-nats-server.js";
import { startNatsCluster } from "../src/start-nats-cluster.js";

beforeAll(async () => {
  await findNatsServer();
}, 600_000);

test("three servers are one, lose one, and take it back with an empty store", async () => {
  const cluster = await startNatsCluster({ maxPayload: 54_321 });
  onTestFinished(() => cluster.stop());
  const nats = await connect({ servers: cluster.urls });
  onTestFinished(() => nats.close());
  expect(nats.info).toMatchObject({ cluster: "jetrpc-test", max_payload: 54_321 });
  const manager = await jetstreamManager(nats);
  await manager.streams.add({ name: "S", subjects: ["s"], num_replicas: 3 });
  await jetstream(nats).publish("s", "kept");

  const lost = cluster.servers[1];
  await lost?.kill();
  await cluster.whenReady();
  const another = await connect({ servers: cluster.urls });
  onTestFinished(() => another.close());
  // The stream may have lost its leader.
  const publish = () => jetstream(another).publish("s", "more", { msgID: "more" });
  await expect.poll(() => publish().catch(String), { timeout: 30_000 }).toMatchObject({ seq: 2 });
  rmSync(lost?.storeDir as string, { recursive: true });
  await lost?.restart();
  await cluster.whenReady();
  const { streams } = await jetstreamManager(another);
  expect((await streams.info("S")).state.messages).toBe(2);
  const replicas = async () => (await streams.info("S")).cluster?.replicas?.map((r) => r.current);
  await expect.poll(replicas, { timeout: 30_000 }).toEqual([true, true]);
});

test("stops all at the end of its block", async () => {
  let folders: string[];
  {
    await using cluster = await startNatsCluster({ size: 2 });
    expect(cluster.servers).toHaveLength(2);
    folders = cluster.servers.map(({ logFile }) => dirname(logFile));
    expect(folders.every(existsSync)).toBe(true);
    expect(readFileSync(cluster.servers[0]?.logFile as string, "utf8")).toContain("n1");
  }
  expect(folders.some(existsSync)).toBe(false);
});

test("a mistake in the configuration ends what has started", async () => {
  await expect(startNatsCluster({ config: "max_connections: many" })).rejects.toThrow(
    /^nats-server ended at its start .*nats-server\.conf:3:\d: /s,
  );
});
