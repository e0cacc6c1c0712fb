import { createClient, type DurableUnaryMethod } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNatsCluster } from "@jetrpc/testing";
import { expect, test } from "vitest";
import { type RequestSchema, type ResponseSchema, ShortService } from "./gen/test/v1/test_pb.js";
import { until } from "./support.js";

interface ShortClient {
  do: DurableUnaryMethod<typeof RequestSchema, typeof ResponseSchema>;
}

// A cluster refuses what takes the place of a message in a full stream; one server does not.
test("a call in a full queue of a cluster can be canceled", async () => {
  await using cluster = await startNatsCluster();
  const connection = await connect({ nats: { servers: cluster.urls } });
  const client = createClient<ShortClient>(ShortService, connection);
  const stream = "test_v1_ShortService";
  const named = await client.do.submit({}, { callId: "named" });
  const unnamed = await client.do.submit({});
  await client.do.submit({}, { callId: "other" });
  const ask = async <T>(api: string, body: object = {}) =>
    (await connection.nats.request(`$JS.API.${api}`, JSON.stringify(body))).json<T>();
  const { config } = await ask<{ config: object }>(`STREAM.INFO.${stream}`);
  await ask(`STREAM.UPDATE.${stream}`, { ...config, num_replicas: 3 });
  await until(async () => {
    const { cluster } = await ask<{ cluster?: { replicas?: { current: boolean }[] } }>(
      `STREAM.INFO.${stream}`,
    );
    const replicas = cluster?.replicas ?? [];
    return replicas.length === 2 && replicas.every(({ current }) => current);
  });
  // Its worker looks at the log.
  expect(await named.cancel()).toBe(true);
  expect((await named.status()).state).toBe("cancelled");
  // Its worker does not: that waits for room.
  const canceled = unnamed.cancel();
  await ask(`STREAM.PURGE.${stream}`, { filter: "test.v1.ShortService.queue.Do._._.other" });
  expect(await canceled).toBe(true);
  expect((await unnamed.status()).state).toBe("cancelled");
  await connection.close();
});
