import { Code, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, submittedInTime, until, useNats } from "./support.js";

const nats = useNats();
const impl = { do: () => ({ text: "done" }) };

async function streamInfo(name: string) {
  const connection = await nats.connect();
  const reply = await connection.nats.request(`$JS.API.STREAM.INFO.${name}`);
  return reply.json() as { created: string; config: Record<string, unknown> };
}

test("streams are made once and left alone by all who come later", async () => {
  await Promise.all([nats.worker(impl), nats.worker(impl), nats.worker(impl)]);
  const first = await streamInfo("TEST");
  expect(first.config).toMatchObject({
    subjects: ["queue", "queue-high", "queue-low"].map((kind) => `test.v1.TestService.${kind}.>`),
    retention: "workqueue",
    discard: "new",
    num_replicas: 1,
    storage: "file",
  });
  expect((await streamInfo("TEST_LOG")).config).toMatchObject({
    subjects: ["test.v1.TestService.log.>"],
    retention: "limits",
    allow_direct: true,
    republish: { src: "test.v1.TestService.log.>", dest: "test.v1.TestService.live.>" },
  });
  await nats.worker(impl);
  expect((await streamInfo("TEST")).created).toBe(first.created);
});

test("a stream that differs from the schema is an error that shows the difference", async () => {
  const connection = await nats.connect();
  await connection.nats.request(
    "$JS.API.STREAM.CREATE.TEST",
    JSON.stringify({
      name: "TEST",
      subjects: ["queue", "queue-high", "queue-low"].map((kind) => `test.v1.TestService.${kind}.>`),
      retention: "limits",
      storage: "file",
      num_replicas: 1,
    }),
  );
  await expect(nats.worker(impl)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringMatching(
      /stream TEST .*retention is "limits", the schema says "workqueue"/,
    ),
  });
});

test("a consumer that differs is shown in the same way", async () => {
  const worker = await nats.worker(impl);
  await worker.drain();
  const connection = await nats.connect();
  await connection.nats.request("$JS.API.CONSUMER.DELETE.TEST.Do");
  await connection.nats.request(
    "$JS.API.CONSUMER.DURABLE.CREATE.TEST.Do",
    JSON.stringify({
      stream_name: "TEST",
      config: {
        durable_name: "Do",
        filter_subject: "test.v1.TestService.queue.Do.>",
        ack_policy: "explicit",
        ack_wait: 7_000_000_000,
        max_ack_pending: -1,
      },
    }),
  );
  await expect(nats.worker(impl)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining("consumer Do of stream TEST"),
  });
});

test("a consumer that is deleted under a worker is made again", async () => {
  const worker = await nats.worker(impl);
  const client = await nats.client();
  await client.do({});
  await worker.connection.nats.request("$JS.API.CONSUMER.DELETE.TEST.Do");
  await until(() => worker.logged.some((record) => record.message === "a pull was refused"));
  expect((await client.do({})).text).toBe("done");
});

test("a stream that captures more than the schema says differs", async () => {
  const worker = await nats.worker(impl);
  await worker.drain();
  const { config } = await streamInfo("TEST_DEAD");
  const subjects = [...(config["subjects"] as string[]), "more.>"];
  await worker.connection.nats.request(
    "$JS.API.STREAM.UPDATE.TEST_DEAD",
    JSON.stringify({ ...config, subjects }),
  );
  await expect(nats.worker(impl)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining("stream TEST_DEAD differs from the schema: subjects is"),
  });
});

test("an account without JetStream is named", async () => {
  await using server = await startNats({
    config: `
      accounts { PLAIN { users: [{ user: plain, password: plain }] } }
      no_auth_user: plain`,
  });
  const refused = {
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining("JetStream not enabled for account"),
  };
  await expect(nats.worker(impl, { url: server.url })).rejects.toMatchObject(refused);
  const client = await nats.client({ url: server.url });
  await expect(client.do({})).rejects.toMatchObject(refused);
});

describe("credentials that may not look at streams", () => {
  /** A server whose user may do anything but what matches `denied`; `admin` may do all. */
  function startRestricted(denied: string) {
    return startNats({
      config: `
        authorization {
          users: [
            { user: admin, password: admin }
            { user: worker, password: worker, permissions: { publish: { deny: [${denied}] } } }
          ]
        }
        no_auth_user: worker`,
    });
  }
  const looking = `"$JS.API.STREAM.>", "$JS.API.CONSUMER.INFO.>", "$JS.API.CONSUMER.CREATE.>"`;

  async function provisionAsAdmin(url: string): Promise<void> {
    const admin = await connect({ nats: { servers: url, user: "admin", pass: "admin" } });
    const worker = await startWorker(TestService, impl, admin);
    await worker.drain();
    await admin.close();
  }

  test("serve what an administrator has made", async () => {
    await using server = await startRestricted(looking);
    await provisionAsAdmin(server.url);
    await nats.worker(impl, { url: server.url });
    const client = await nats.client({ url: server.url });
    expect((await client.do({})).text).toBe("done");
  });

  test("are told by the log, and by submit(), that something is missing", async () => {
    await using server = await startRestricted(looking);
    const worker = await nats.worker(impl, { url: server.url });
    await until(() => worker.logged.some(({ level }) => level === "error"));
    expect(worker.logged.find(({ level }) => level === "error")?.error).toMatchObject({
      rawMessage: expect.stringContaining("consumer Do of stream TEST is missing"),
    });
    const client = await nats.client({ url: server.url });
    await expect(
      submittedInTime(() => client.do.submit({}, { timeoutMs: 100 })),
    ).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("let an administrator run `jetrpc apply`"),
    });
  });

  test("that may look, but not make them, are refused at once", async () => {
    await using server = await startRestricted(`"$JS.API.STREAM.CREATE.>"`);
    const refused = {
      code: Code.PermissionDenied,
      rawMessage: expect.stringContaining("stream TEST does not exist, and these credentials"),
    };
    await expect(nats.worker(impl, { url: server.url })).rejects.toMatchObject(refused);
    const client = await nats.client({ url: server.url });
    await expect(client.do({})).rejects.toMatchObject(refused);
  });
});

test("submit() tells that the stream of the service captures something else", async () => {
  const root = await nats.connect();
  const config = { name: "TEST", subjects: ["elsewhere.>"], retention: "workqueue" };
  const made = await root.nats.request("$JS.API.STREAM.CREATE.TEST", JSON.stringify(config));
  expect(made.json()).not.toHaveProperty("error");
  const client = await nats.client();
  await expect(client.do.submit({})).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining("TEST"),
  });
});

test("many first calls make the streams once, not each for itself", async () => {
  const { nats: watcher } = await nats.connect();
  const made: string[] = [];
  watcher.subscribe("$JS.API.STREAM.CREATE.*", {
    callback: (_error, message) => {
      made.push(message.subject);
    },
  });
  await watcher.flush();
  const client = await nats.client();
  const answers = await collect(client.do.submitAll(Array.from({ length: 200 }, () => ({}))));
  expect(answers.filter(({ call }) => call)).toHaveLength(200);
  await watcher.flush();
  expect(made.filter((subject) => subject.endsWith(".TEST"))).toHaveLength(1);
});
