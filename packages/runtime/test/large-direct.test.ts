import { ConnectError } from "@jetrpc/runtime";
import { expect, test } from "vitest";
import { until, useNats } from "./support.js";

const nats = useNats();

/** Above max_payload: request and response go through the Object Store. */
const size = 2_000_000;

test("a hundred direct calls of 2 MB at once succeed, and leave nothing stored", async () => {
  const { logged } = await nats.worker({ get: ({ data, count }) => ({ data, index: count }) });
  const root = await nats.connect();
  const client = await nats.client();
  const call = async (count: number) => {
    const data = new Uint8Array(size).fill(count);
    // However slow the machine is.
    const response = await client.get({ data, count }, { timeoutMs: 0 });
    return response.index === count && Buffer.compare(response.data, data) === 0
      ? "its own response"
      : "another response";
  };
  const outcomes = await Promise.all(
    Array.from({ length: 100 }, (_, count) =>
      call(count).catch((error: unknown) => String(ConnectError.from(error))),
    ),
  );
  expect(new Set(outcomes)).toEqual(new Set(["its own response"]));
  expect(logged).toEqual([]);
  await until(async () => {
    const reply = await root.nats.request("$JS.API.STREAM.INFO.OBJ_TEST_PAYLOAD");
    return reply.json<{ state: { messages: number } }>().state.messages === 0;
  });
});
