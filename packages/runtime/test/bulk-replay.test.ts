import { Code, ConnectError } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { useProcesses } from "./process.js";
import { until, useNats } from "./support.js";

const nats = useNats();
const start = useProcesses();

test("10,000 dead letters are replayed once each by an operator that is killed in the middle", async () => {
  const count = 10_000;
  const runs = new Map<string, number>();
  await nats.worker(
    {
      do: (_request, { callId }) => {
        runs.set(callId, (runs.get(callId) ?? 0) + 1);
        throw new ConnectError("no", Code.InvalidArgument);
      },
    },
    { concurrency: 200 },
  );
  const client = await nats.client();
  for (let from = 0; from < count; from += 500) {
    const ids = Array.from({ length: 500 }, (_, index) => `d${from + index}`);
    await Promise.all(ids.map((callId) => client.do.submit({ text: "x" }, { callId })));
  }
  const self = createOperator(await nats.connect({ as: "operator" }), TestService);
  const failed = async () =>
    (await self.countCalls({ maxEntries: 1 })).find(({ method }) => method === "Do")?.failed;
  await until(async () => (await failed()) === count);

  const killed = start("bulk-client.mjs", nats.environment("operator"));
  await killed.hears((line) => Number(line.split(" ")[0]) > count / 3);
  await killed.end("SIGKILL");
  const token = killed.heard.at(-1)?.split(" ")[1] as string;
  expect(killed.heard.some((line) => line.startsWith("complete"))).toBe(false);
  const second = start("bulk-client.mjs", nats.environment("operator"), token);
  await second.says("complete, failed: 0");
  await until(() => [...runs.values()].reduce((sum, times) => sum + times, 0) >= 2 * count);
  // What the killed process had queued may have run already: nothing further comes.
  await until(async () => (await failed()) === count);
  const queued = await self.listCalls({ states: ["queued", "running"] });
  expect(queued.calls).toEqual([]);
  expect([...runs.values()].filter((times) => times !== 2)).toEqual([]);
});
