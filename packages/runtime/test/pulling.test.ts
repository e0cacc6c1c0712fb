import {
  createClient,
  type DurableUnaryMethod,
  type Logger,
  type LogRecord,
  startWorker,
} from "@jetrpc/runtime";
import type { Msg } from "@nats-io/nats-core";
import { describe, expect, test } from "vitest";
import { Turns } from "../src/worker/turns.js";
import { PriorityService, type RequestSchema, type ResponseSchema } from "./gen/test/v1/test_pb.js";
import { gate, until, useNats } from "./support.js";

const nats = useNats();

/** A client of PriorityService, whose workers run ten calls at once. */
async function createManyClient() {
  type Client = { many: DurableUnaryMethod<typeof RequestSchema, typeof ResponseSchema> };
  return createClient<Client>(PriorityService, await nats.connect());
}

async function workMany(
  many: () => { index: number } | Promise<{ index: number }>,
  logger: Logger = () => undefined,
) {
  return startWorker(PriorityService, { many }, await nats.connect(), { logger });
}

describe("free slots are shared out among priorities", () => {
  const lane = (its: { isDry?: boolean; isLeftOut?: boolean } = {}) => ({
    isDry: false,
    isLeftOut: false,
    ...its,
  });

  test("seven, two and one of ten, however they become free", () => {
    const all = [lane(), lane(), lane()];
    expect(new Turns().share(10, all)).toEqual([7, 2, 1]);
    const turns = new Turns();
    const sum = [0, 0, 0];
    for (const free of [1, 3, 2, 1, 3]) {
      for (const [index, share] of turns.share(free, all).entries()) {
        sum[index] = (sum[index] ?? 0) + share;
      }
    }
    expect(sum).toEqual([7, 2, 1]);
  });

  test("one slot at most for what was empty, the others for what was not", () => {
    const dry = lane({ isDry: true });
    expect(new Turns().share(10, [dry, dry, lane()])).toEqual([1, 1, 8]);
    expect(new Turns().share(10, [dry, dry, dry])).toEqual([1, 1, 1]);
  });

  test("none for what is not to be asked", () => {
    const out = lane({ isLeftOut: true });
    expect(new Turns().share(4, [out, lane(), out])).toEqual([0, 4, 0]);
    expect(new Turns().share(4, [out, out, out])).toEqual([0, 0, 0]);
  });
});

/** The pulls of workers from now on. */
async function watchPulls() {
  const root = await nats.connect();
  const pulls: { consumer: string; batch: number; mayWait: boolean }[] = [];
  root.nats.subscribe("$JS.API.CONSUMER.MSG.NEXT.PRIORITY.*", {
    callback: (_error, message: Msg) => {
      const consumer = message.subject.split(".").at(-1) as string;
      const { batch, expires = 0 } = message.json<{ batch: number; expires?: number }>();
      pulls.push({ consumer, batch, mayWait: expires > 0 });
    },
  });
  await root.nats.flush();
  return { root, pulls };
}

test("a pull that takes what is there ends with a status, however few messages that are", async () => {
  const { root } = await watchPulls();
  await (await nats.worker({ urgent: () => ({}) })).drain();
  const client = await nats.client();
  const ask = async (batch: number) => {
    const heard: string[] = [];
    root.nats.subscribe("test.pull", {
      callback: (_error, message: Msg) => {
        const isStatus = message.subject === "test.pull";
        heard.push(isStatus ? `${message.headers?.code}` : "message");
        if (!isStatus) {
          message.respond("+ACK");
        }
      },
    });
    root.nats.publish(
      "$JS.API.CONSUMER.MSG.NEXT.TEST.Urgent",
      JSON.stringify({ batch, no_wait: true }),
      { reply: "test.pull" },
    );
    await until(() => heard.at(-1) === "404" || heard.length === batch);
    return heard;
  };
  expect(await ask(5)).toEqual(["404"]);
  await Promise.all([1, 2, 3].map(() => client.urgent.submit({})));
  expect(await ask(5)).toEqual(["message", "message", "message", "404"]);
});

test("calls with priorities are pulled in batches, never more than there are free slots", async () => {
  const client = await createManyClient();
  for (let i = 0; i < 60; i++) {
    await client.many.submit({}, { priority: "low" });
  }
  const { pulls: all } = await watchPulls();
  let begun = 0;
  let ended = 0;
  const first = gate();
  await workMany(async () => {
    begun++;
    await first.opened;
    return { index: ++ended };
  });
  await until(() => begun === 10);
  const pulls = all.filter(({ consumer }) => consumer === "Many-low");
  // Later slots become free one by one, and one call is pulled for each.
  expect(pulls.length).toBeLessThan(10);
  first.open();
  await until(() => ended === 60);
  expect(Math.max(...pulls.map(({ batch }) => batch))).toBeGreaterThan(1);
  expect(all.every(({ batch }) => batch <= 10)).toBe(true);
});

test("a call of high priority overtakes queued ones of low priority", async () => {
  const client = await nats.client();
  for (let i = 0; i < 20; i++) {
    await client.urgent.submit({ text: "low" }, { priority: "low" });
  }
  const begun: string[] = [];
  const first = gate();
  await nats.worker({
    urgent: async ({ text }) => {
      begun.push(text);
      await first.opened;
      return {};
    },
  });
  await until(() => begun.length === 1);
  await client.urgent.submit({ text: "high" }, { priority: "high" });
  first.open();
  await until(() => begun.length === 21);
  // One turn of another priority may come before it.
  expect(begun.indexOf("high")).toBeLessThanOrEqual(2);
});

test("a queue whose pull the server refuses is asked again after a pause only", async () => {
  const { root, pulls } = await watchPulls();
  await (await workMany(() => ({ index: 0 }))).drain();
  const { config } = (await root.nats.request("$JS.API.CONSUMER.INFO.PRIORITY.Many-low")).json<{
    config: object;
  }>();
  // The server refuses each pull that may wait for longer.
  await root.nats.request(
    "$JS.API.CONSUMER.CREATE.PRIORITY.Many-low.test.v1.PriorityService.queue-low.Many.>",
    JSON.stringify({
      stream_name: "PRIORITY",
      action: "update",
      config: { ...config, max_expires: 1_000_000 },
    }),
  );
  const before = pulls.length;
  const refusals: LogRecord[] = [];
  await workMany(
    () => ({ index: 0 }),
    (record) => {
      if (record.message === "a pull was refused") {
        refusals.push(record);
      }
    },
  );
  const client = await createManyClient();
  // Each of these calls has the worker ask again where it may.
  while (refusals.length < 3) {
    await client.many({});
  }
  const asked = pulls.slice(before).filter((pull) => pull.consumer === "Many-low" && pull.mayWait);
  // A refusal is told at the end of its pause. Two pulls may be refused together.
  expect(asked.length).toBeLessThanOrEqual(2 * (refusals.length + 1));
});
