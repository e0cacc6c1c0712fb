import { once } from "node:events";
import { expect, test } from "vitest";
import { useProcesses } from "./process.js";
import { useNats } from "./support.js";

const nats = useNats();
const start = useProcesses();

test("a process ends by itself when its connection is closed, also with workers that were not drained", async () => {
  const { child, heard } = start("close-client.mjs", nats.environment("root"));
  const [exitCode] = await once(child, "exit");
  expect(exitCode).toBe(0);
  expect(heard).toEqual(["timers left: 0"]);
});
