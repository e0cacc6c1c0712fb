import { headers } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { makeStreams } from "../../runtime/test/secured.js";
import { CallState } from "../src/gen/jetrpc/console/v1/console_service_pb.js";
import { provideConsoles } from "./support.js";

const { nats, client } = provideConsoles();
const count = 100_000;

test("100,000 calls are listed page by page, each once, the newest first", async () => {
  const root = await nats.connect();
  await makeStreams(root, [TestService]);
  for (let i = 0; i < count; i++) {
    // As its worker would have written it.
    const end = headers();
    end.set("Jetrpc-Entry", "end 1 succeeded");
    end.set("Jetrpc-Accepted", `${Date.now()}`);
    const subject = `test.v1.TestService.log.Do._._.call-${i}.entry`;
    if (i % 2_000 === 1_999) {
      // Answered when it and all before it are stored.
      await root.nats.request(subject, "", { headers: end, timeout: 60_000 });
    } else {
      root.nats.publish(subject, "", { headers: end });
    }
  }
  const { client: page } = await client({ intervalMs: 3_600_000 });
  const before = process.memoryUsage().heapUsed;
  const filter = { service: TestService.typeName, states: [CallState.SUCCEEDED] };
  const ids = new Set<string>();
  let newest = Number.POSITIVE_INFINITY;
  let pageToken = "";
  let largest = 0;
  do {
    const answer = await page.listCalls({ filter, pageSize: 1_000, pageToken });
    for (const { name, at } of answer.calls) {
      ids.add(name?.callId ?? "");
      const ms = Number(at?.seconds) * 1000 + (at?.nanos ?? 0) / 1e6;
      expect(ms).toBeLessThanOrEqual(newest);
      newest = ms;
    }
    largest = Math.max(largest, process.memoryUsage().heapUsed - before);
    ({ nextPageToken: pageToken } = answer);
  } while (pageToken !== "");
  expect(ids.size).toBe(count);
  // The ids themselves, and no more than some pages.
  expect(largest).toBeLessThan(400 * 1024 * 1024);
}, 600_000);
