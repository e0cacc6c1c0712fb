import { Code, createClient, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { permissionsOf } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, type TestClient } from "./support.js";

/** An account of workers that another account imports direct methods from. */
async function startAccounts(responseType: string) {
  const methods = ["rpc.>", "wait.>"].map((kind) => `test.v1.TestService.${kind}`);
  const { publish, subscribe } = permissionsOf({
    name: "w",
    grants: [{ role: "worker", service: TestService, methods: ["Get", "Two", "Down"] }],
  });
  const allow = (subjects: readonly string[]) => JSON.stringify(subjects);
  const server = await startNats({
    config: `accounts {
      WORKERS {
        jetstream: enabled
        users: [{ user: w, password: p, permissions: {
          publish: { allow: ${allow(publish.allow)} }, subscribe: { allow: ${allow(subscribe.allow)} }
        } }]
        exports: [${methods.map((service) => `{ service: "${service}", response_type: ${responseType} }`).join()}]
      }
      CLIENTS {
        users: [{ user: c, password: p }]
        imports: [${methods.map((subject) => `{ service: { account: WORKERS, subject: "${subject}" } }`).join()}]
      }
    }`,
  });
  const as = (user: string) =>
    connect({
      nats: { servers: server.url, user, pass: "p" },
      ...(user === "w" && { inboxPrefix: "_INBOX.w" }),
    });
  const connections = await Promise.all([as("w"), as("c")]);
  const [workers, clients] = connections;
  const worker = await startWorker(
    TestService,
    {
      get: async ({ text, count }) => {
        await new Promise((resolve) => setTimeout(resolve, count));
        return { text };
      },
      two: async ({ text, count }) => {
        await new Promise((resolve) => setTimeout(resolve, count));
        return { text };
      },
      async *down() {
        yield {};
      },
    },
    workers,
    { drainTimeoutMs: 100 },
  );
  return {
    client: createClient<TestClient>(TestService, clients),
    async [Symbol.asyncDispose]() {
      await worker.drain();
      await Promise.all(connections.map((each) => each.close()));
      await server.stop();
    },
  };
}

describe("a direct call of a method that another account exports", () => {
  test("as stream takes as long as it likes, also while it waits for a slot", async () => {
    await using accounts = await startAccounts("stream");
    const { client } = accounts;
    const running = [1, 2, 3].map((i) => client.two({ text: `${i}`, count: 5_000 }));
    expect((await client.get({ text: "9 s", count: 9_000 })).text).toBe("9 s");
    expect((await Promise.all(running)).map(({ text }) => text)).toEqual(["1", "2", "3"]);
  });

  test("as singleton takes some seconds, and is Unavailable when it takes longer", async () => {
    await using accounts = await startAccounts("singleton");
    const { client } = accounts;
    const long = expect(client.get({ count: 14_000 })).rejects.toMatchObject({
      code: Code.Unavailable,
    });
    expect((await client.get({ text: "1 s", count: 1_000 })).text).toBe("1 s");
    await long;
  });

  test("is refused when it streams", async () => {
    await using accounts = await startAccounts("stream");
    await expect(collect(accounts.client.down({}))).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining("another account"),
    });
  });
});
