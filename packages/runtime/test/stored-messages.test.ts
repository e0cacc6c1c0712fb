import { Code } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { firstMessage } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { expect, test } from "vitest";

test("the first message is asked for again where the server that should answer is lost", async () => {
  // Half of what is asked goes to one that reads it and says nothing, as a frozen server of a cluster does.
  const get = "$JS.API.DIRECT.GET.THINGS";
  await using server = await startNats({
    config: `mappings: { "${get}": [
      { destination: "${get}", weight: 50% }, { destination: "lost", weight: 50% }
    ] }`,
  });
  await using connection = await connect({ nats: { servers: server.url } });
  let lost = 0;
  const count = () => {
    lost++;
  };
  connection.nats.subscribe("lost", { callback: count });
  const config = { name: "THINGS", subjects: ["things.>"], allow_direct: true };
  await connection.nats.request("$JS.API.STREAM.CREATE.THINGS", JSON.stringify(config));
  for (const subject of ["things.a", "things.b", "things.a"]) {
    await connection.nats.request(subject, subject);
  }
  const first = (subject: string, from: number) =>
    firstMessage(connection, "THINGS", subject, from, 60_000);
  const asked = Array.from({ length: 16 }, () => first("things.a", 2));
  for (const message of await Promise.all(asked)) {
    expect(message).toMatchObject({ subject: "things.a", sequence: 3 });
  }
  expect(lost).toBeGreaterThan(0);
  expect(await first("things.b", 3)).toBeUndefined();
  expect(await firstMessage(connection, "NOTHING", "things.a", 1, 1_000)).toBeUndefined();
});

test("where nobody answers for as long as is waited, that is the error", async () => {
  await using server = await startNats({
    config: 'mappings: { "$JS.API.DIRECT.GET.THINGS": "lost" }',
  });
  await using connection = await connect({ nats: { servers: server.url } });
  connection.nats.subscribe("lost", { callback: () => undefined });
  await expect(firstMessage(connection, "THINGS", "things.a", 1, 100)).rejects.toMatchObject({
    code: Code.DeadlineExceeded,
  });
});
