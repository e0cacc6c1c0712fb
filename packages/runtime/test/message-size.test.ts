import { Code, type WorkerOptions } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, failureOf, type TestClient, until, useNats } from "./support.js";

const nats = useNats();

/** A limit, what fits, and what does not; the last one needs an object, too. */
const limit = 50_000;
const fits = new Uint8Array(limit - 4);
const tooLarge = [new Uint8Array(limit - 3), new Uint8Array(2_000_000)];

async function* twice(data: Uint8Array) {
  yield {};
  yield { data };
}

/** Every kind of call: of how many bytes the message is that its caller gets last. */
const ways: [string, (client: TestClient, data: Uint8Array) => Promise<number | undefined>][] = [
  ["a direct call", async (client, data) => (await client.get({ data })).data.length],
  ["a direct stream", async (client, data) => last(await collect(client.down({ data })))],
  ["a stream of requests", async (client, data) => (await client.up(twice(data))).data.length],
  ["a durable call", async (client, data) => (await client.do({ data })).data.length],
  [
    "a durable call that is attached to",
    async (client, data) => {
      const { id } = await client.do.submit({ data });
      return (await client.do.attach(id).result()).data.length;
    },
  ],
  ["a durable stream", async (client, data) => last(await collect(client.count({ data })))],
];

function last(all: readonly { data: Uint8Array }[]): number | undefined {
  return all.at(-1)?.data.length;
}

/** A worker that answers with as many bytes, and counts how often it runs. */
async function echo(limits: WorkerOptions = {}) {
  const state = { runs: 0 };
  const one = ({ data }: { data: Uint8Array }) => {
    state.runs++;
    return { data };
  };
  await nats.worker(
    {
      get: one,
      async *down(request) {
        yield one(request);
      },
      async up(requests) {
        return one((await collect(requests)).at(-1) as { data: Uint8Array });
      },
      do: one,
      async *count(request) {
        yield one(request);
      },
    },
    limits,
  );
  return state;
}

describe.each(ways)("a message of %s that is too large", (way, run) => {
  const isDurable = way.includes("durable");

  test.each(["readMaxBytes", "writeMaxBytes"] as const)(
    "for the worker's %s ends the call at once, for good",
    async (name) => {
      const state = await echo({ [name]: limit });
      const client = await nats.client();
      expect(await run(client, fits)).toBe(fits.length);
      for (const data of tooLarge) {
        const error = await failureOf(run(client, data));
        expect(error.code).toBe(Code.ResourceExhausted);
        expect(error.rawMessage).toContain(`larger than ${name}, ${limit}`);
      }
      expect(state.runs).toBe(name === "readMaxBytes" ? 1 : 3);
      if (isDurable) {
        const operator = createOperator(await nats.connect({ as: "operator" }), TestService);
        await until(async () => (await collect(operator.deadLetters())).length === 2);
        for (const { attempts } of await collect(operator.deadLetters())) {
          expect(attempts).toBe(1);
        }
      }
    },
  );

  test("for the caller's writeMaxBytes is not sent", async () => {
    const state = await echo();
    const client = await nats.client({ writeMaxBytes: limit });
    expect(await run(client, fits)).toBe(fits.length);
    const { runs } = state;
    for (const data of tooLarge) {
      const error = await failureOf(run(client, data));
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(error.rawMessage).toContain(`larger than writeMaxBytes, ${limit}`);
    }
    expect(state.runs).toBe(runs);
  });

  test("for the caller's readMaxBytes is not given to it", async () => {
    await echo();
    const client = await nats.client({ readMaxBytes: limit });
    expect(await run(client, fits)).toBe(fits.length);
    for (const data of tooLarge) {
      const error = await failureOf(run(client, data));
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(error.rawMessage).toContain(`larger than readMaxBytes, ${limit}`);
    }
  });
});

test.each([0, -1, 1.5, Number.NaN, 2 ** 32])("%s is no limit of a size", async (bytes) => {
  for (const name of ["readMaxBytes", "writeMaxBytes"]) {
    const refused = {
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining(`${name} is ${bytes}`),
    };
    expect(await failureOf(nats.connect({ [name]: bytes }))).toMatchObject(refused);
    expect(await failureOf(nats.worker({ get: () => ({}) }, { [name]: bytes }))).toMatchObject(
      refused,
    );
  }
});
