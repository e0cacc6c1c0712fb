import { Code } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { firstMessage } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { headers } from "@nats-io/nats-core";
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

test("a read is asked for again before its time is over, and takes the first answer", async () => {
  await using server = await startNats({
    config: 'mappings: { "$JS.API.DIRECT.GET.THINGS": "lost" }',
  });
  await using connection = await connect({ nats: { servers: server.url } });
  const answer = headers();
  for (const [name, value] of Object.entries({
    "Nats-Stream": "THINGS",
    "Nats-Subject": "things.a",
    "Nats-Sequence": "3",
    "Nats-Time-Stamp": "2026-11-27T12:00:00Z",
  })) {
    answer.set(name, value);
  }
  const asked: (string | undefined)[] = [];
  connection.nats.subscribe("lost", {
    callback: (_, message) => {
      if (asked.includes(message.reply)) {
        message.respond("second", { headers: answer });
        message.respond("third", { headers: answer });
      }
      asked.push(message.reply);
    },
  });
  const first = await firstMessage(connection, "THINGS", "things.a", 1, 60_000);
  expect(new TextDecoder().decode(first?.data)).toBe("second");
  expect(first).toMatchObject({ subject: "things.a", sequence: 3 });
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
