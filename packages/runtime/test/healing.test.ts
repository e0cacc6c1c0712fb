import { Code, ConnectError, createClient, type LogRecord, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, gate, type TestClient, until, useNats } from "./support.js";

const nats = useNats();

async function remove(stream: string): Promise<void> {
  const root = await nats.connect();
  const reply = await root.nats.request(`$JS.API.STREAM.DELETE.${stream}`);
  expect(reply.json()).toMatchObject({ success: true });
}

describe("a stream that is deleted under a worker is made again", () => {
  test.each(["TEST", "TEST_LATER", "TEST_LOG", "TEST_DEAD", "TEST_PROGRESS"])(
    "%s",
    async (stream) => {
      await nats.worker({
        do: ({ text }, context) => {
          context.progress({ done: 1, total: 1 });
          if (text === "bad") {
            throw new ConnectError("bad", Code.InvalidArgument);
          }
          return { text };
        },
      });
      const client = await nats.client();
      for (let i = 0; i < 3; i++) {
        await client.do({ text: "before" });
        await remove(stream);
        const notBefore = new Date(Date.now() + 100);
        const [now, later, failed] = await Promise.all([
          client.do.submit({ text: "now" }),
          client.do.submit({ text: "later" }, { notBefore }),
          client.do.submit({ text: "bad" }),
        ]);
        expect(await now.result()).toMatchObject({ text: "now" });
        expect(await later.result()).toMatchObject({ text: "later" });
        await expect(failed.result()).rejects.toMatchObject({ rawMessage: "bad" });
        const operator = createOperator(await nats.connect(), TestService);
        await until(async () =>
          (await collect(operator.deadLetters())).some(({ callId }) => callId === failed.id),
        );
        await until(async () => (await now.status()).progress !== undefined);
      }
    },
  );
});

test("a call whose log is deleted while it runs ends", async () => {
  const { opened, open } = gate();
  const attempts: number[] = [];
  await nats.worker({
    do: async (_, { attempt }) => {
      attempts.push(attempt);
      await opened;
      return { index: attempt };
    },
  });
  const client = await nats.client();
  const call = await client.do.submit({}, { callId: "torn" });
  await until(async () => (await call.status()).state === "running");
  await remove("TEST_LOG");
  open();
  await until(async () =>
    call.status().then(
      ({ state }) => state === "succeeded",
      () => false,
    ),
  );
  expect(await call.result()).toMatchObject({ index: attempts.at(-1) });
});

test("where a worker may not make a stream its log says so, and no call is lost", async () => {
  await using server = await startNats({
    config: `authorization { users = [
      { user: root, password: root }
      { user: worker, password: worker, permissions: { publish: { deny: ["$JS.API.STREAM.CREATE.>"] } } }
    ] }`,
  });
  const as = (user: string) => connect({ nats: { servers: server.url, user, pass: user } });
  const [root, worker] = [await as("root"), await as("worker")];
  const client = createClient<TestClient>(TestService, root);
  // The streams are made by whoever submits first.
  const first = await client.do.submit({ text: "first" });
  const logged: LogRecord[] = [];
  const served = await startWorker(TestService, { do: ({ text }) => ({ text }) }, worker, {
    logger: (record) => logged.push(record),
  });
  await first.result();
  for (const stream of ["TEST_LOG", "TEST_DEAD"]) {
    await root.nats.request(`$JS.API.STREAM.DELETE.${stream}`);
  }
  const call = await client.do.submit({ text: "kept" });
  await until(() =>
    logged.some(({ level, error }) => level === "error" && String(error).includes("jetrpc apply")),
  );
  // An administrator makes them.
  const admin = await startWorker(TestService, { count: async function* () {} }, root);
  expect(await call.result()).toMatchObject({ text: "kept" });
  await Promise.all([served.drain(), admin.drain()]);
  await Promise.all([root.close(), worker.close()]);
});
