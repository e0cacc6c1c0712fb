import { bindService } from "@jetrpc/runtime/schema";
import { expect, test } from "vitest";
import { serviceFor } from "../src/service.js";

test("one service is served with any number of replicas, and is the same otherwise", () => {
  const [one, three] = [serviceFor(1), serviceFor(3)].map((service) => bindService(service));
  expect([one?.replicas, three?.replicas]).toEqual([1, 3]);
  expect(three?.stream).toBe(one?.stream);
  const methods = (service: typeof one) =>
    [...(service?.methods.values() ?? [])].map(({ desc, maxAttempts, ackWaitMs, concurrency }) => ({
      name: desc.name,
      ...{ maxAttempts, ackWaitMs, concurrency },
    }));
  expect(methods(three)).toEqual(methods(one));
  expect(serviceFor(3)).toBe(serviceFor(3));
});
