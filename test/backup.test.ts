import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats, startNatsCluster } from "@jetrpc/testing";
import { expect, onTestFinished, test } from "vitest";
import { Kind } from "../packages/chaos/src/gen/chaos/v1/chaos_pb.js";
import { type ChaosClient, serviceFor } from "../packages/chaos/src/service.js";
import { type Finished, run } from "./run.js";

const script = join(import.meta.dirname, "../infrastructure/nats-server/backup.mjs");

function backup(verb: string, folder: string, url: string): Promise<Finished> {
  return run(process.execPath, [script, verb, folder], { NATS_URL: url });
}

function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "jetrpc-backup-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const request = (value: number) => ({ kind: Kind.QUICK, value, milliseconds: 0 });

type Service = ReturnType<typeof serviceFor>;

/** Leaves a call that is done, and one that nobody has taken. */
async function fill(service: Service, urls: string[]): Promise<void> {
  const connection = await connect({ nats: { servers: urls } });
  const worker = await startWorker(
    service,
    { work: ({ value }: { readonly value: number }) => ({ value: 2 * value }) },
    connection,
  );
  const client = createClient<ChaosClient>(service, connection);
  await (await client.work.submit(request(1), { callId: "done" })).result();
  await worker.drain();
  await client.work.submit(request(2), { callId: "waits" });
  await connection.close();
}

/** What was done is there still, and what waits is done. */
async function isWhole(service: Service, urls: string[]): Promise<void> {
  const connection = await connect({ nats: { servers: urls } });
  const client = createClient<ChaosClient>(service, connection);
  expect((await client.work.attach("done").result()).value).toBe(2);
  const worker = await startWorker(
    service,
    { work: ({ value }: { readonly value: number }) => ({ value: 3 * value }) },
    connection,
  );
  expect((await client.work.attach("waits").result()).value).toBe(6);
  await worker.drain();
  await connection.close();
}

test("what a running server was saved from is restored on an empty one", async () => {
  const folder = temporaryFolder();
  await using server = await startNats();
  await fill(serviceFor(1), [server.url]);
  const saved = await backup("save", folder, server.url);
  expect(saved, saved.stderr).toMatchObject({ code: 0 });
  expect(saved.stdout).toMatch(/^CHAOS: 1 messages$/m);

  await using other = await startNats();
  const restored = await backup("restore", folder, other.url);
  expect(restored, restored.stderr).toMatchObject({ code: 0 });
  expect(restored.stdout.split("\n").sort()).toEqual(saved.stdout.split("\n").sort());
  await isWhole(serviceFor(1), [other.url]);
});

test("the same for a cluster", async () => {
  const folder = temporaryFolder();
  await using cluster = await startNatsCluster();
  await fill(serviceFor(3), cluster.urls);
  const saved = await backup("save", folder, cluster.urls.join(","));
  expect(saved, saved.stderr).toMatchObject({ code: 0 });

  await using other = await startNatsCluster();
  const restored = await backup("restore", folder, other.urls.join(","));
  expect(restored, restored.stderr).toMatchObject({ code: 0 });
  await other.whenReady();
  await isWhole(serviceFor(3), other.urls);
});

test("a stream that exists is not touched", async () => {
  const folder = temporaryFolder();
  await using server = await startNats();
  await fill(serviceFor(1), [server.url]);
  await backup("save", folder, server.url);
  expect(await backup("restore", folder, server.url)).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^\$JS\.API\.STREAM\.RESTORE\.\w+: stream name already in use/),
  });
  await isWhole(serviceFor(1), [server.url]);
});

test("says when nobody answers, and how it is used", async () => {
  expect(await backup("save", temporaryFolder(), "nats://127.0.0.1:9")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^\[unavailable\] no NATS server answers at /),
  });
  expect(await backup("steal", temporaryFolder(), "")).toMatchObject({ code: 2 });
});

test("a copy of the data folder of a stopped server serves as well", async () => {
  const [storeDir, copy] = [temporaryFolder(), temporaryFolder()];
  const server: NatsServer = await startNats({ storeDir });
  await fill(serviceFor(1), [server.url]);
  await server.stop();
  cpSync(storeDir, copy, { recursive: true });
  await using other = await startNats({ storeDir: copy });
  await isWhole(serviceFor(1), [other.url]);
});
