import { createClient } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { bindService } from "@jetrpc/runtime/schema";
import { startNats } from "@jetrpc/testing";
import { expect, test } from "vitest";
import { Checker } from "../src/checker.js";
import { ChaosService, Kind } from "../src/gen/chaos/v1/chaos_pb.js";
import { describeCall, describeQueues } from "../src/post-mortem.js";
import type { ChaosClient } from "../src/service.js";

test("a call that nobody queues when it is due is stuck, and not lost; one that is not there is lost", async () => {
  await using server = await startNats();
  const connection = await connect({ nats: { servers: server.url } });
  const { nats } = connection;
  const client = createClient<ChaosClient>(ChaosService, connection);
  const request = { kind: Kind.QUICK, value: 1, milliseconds: 0 };
  const notBefore = new Date(Date.now() + 100);
  const call = await client.work.submit(request, { callId: "due", notBefore });
  while ((await call.status()).state === "scheduled") {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  const binding = bindService(ChaosService);
  const checker = new Checker(connection, binding);
  const accepted = { method: "Work", result: 1, ends: ["succeeded"] } as const;
  const [due, gone] = [
    { ...accepted, callId: "due" },
    { ...accepted, callId: "gone" },
  ];
  checker.hear({ accepted: due });
  checker.hear({ accepted: gone });
  const { verdict, failures } = await checker.check();
  expect(verdict).toMatchObject({ accepted: 2, stuck: 1, lost: 1 });
  expect(failures.map(({ verdict, call }) => `${call?.callId} ${verdict}`)).toEqual([
    "due stuck",
    "gone lost",
  ]);
  expect((await describeCall(nats, binding, due)).join("\n")).toMatch(
    /^CHAOS_LATER 2: \S+ chaos\.v1\.ChaosService\.due\.queue\.Work\._\._\.due, /,
  );
  expect(await describeCall(nats, binding, gone)).toEqual(["no server has anything of it"]);
  expect(await describeQueues(nats, binding)).toContain("CHAOS: 0 messages, 0 to 0");
  await connection.close();
});
