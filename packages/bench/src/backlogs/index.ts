import type { BacklogWay } from "./backlog-way.js";

/** Every way, by the name of its subject. */
export const backlogWays: ReadonlyMap<string, () => Promise<BacklogWay>> = new Map([
  ["jetrpc durable", async () => (await import("./jetrpc.js")).jetrpc],
  ["hand-written JetStream", async () => (await import("./jetstream.js")).handWritten],
  ["bullmq", async () => (await import("./bullmq.js")).bullmq],
]);
