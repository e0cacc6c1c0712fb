import { type NatsCluster, startNatsCluster } from "@jetrpc/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jetrpc, linesOf, Project } from "./support.js";

const project = new Project();
let cluster: NatsCluster;

beforeAll(async () => {
  cluster = await startNatsCluster();
});
afterAll(async () => {
  await cluster?.stop();
  project.remove();
});

async function run(image: string, ...args: string[]) {
  const env = { NATS_URL: cluster.servers[0]?.url as string };
  return await jetrpc([...args, "--descriptors", image], { env });
}

/** Repeats something until it is as it should be: a cluster takes its time. */
async function until<T>(look: () => Promise<T>, holds: (found: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const found = await look();
    if (holds(found) || tries === 200) {
      return found;
    }
  }
}

test("in a cluster streams get their copies, and the doctor looks at each", {
  timeout: 180_000,
}, async () => {
  const single = project.image();
  const image = project.image({ service: "replicas: 3" });
  const complaints = async (of: string) =>
    linesOf(await run(of, "doctor", "--json")).filter(
      ({ level }) => level !== "ok" && level !== "note",
    );
  const made = await until(
    () => run(single, "apply"),
    ({ code }) => code === 0,
  );
  expect(made.code).toBe(0);
  expect(await complaints(single)).toMatchObject([
    { level: "warning", mend: expect.stringContaining("set replicas: 3") },
  ]);
  const { stdout } = await run(image, "apply");
  expect(stdout).toContain("  ~ stream SHOP\n      num_replicas: 1 -> 3\n");
  expect(stdout).toMatch(/\n6 to change\napplied\n$/);
  // The new copies catch up.
  expect(
    await until(
      () => complaints(image),
      (found) => found.length === 0,
    ),
  ).toEqual([]);
  expect((await run(single, "apply", "--dry-run")).stdout).toContain(
    "fewer servers keep a copy: 1 instead of 3",
  );
  await cluster.servers[2]?.stop();
  const wanted = {
    level: "warning",
    title: "stream SHOP: the copy on n3 is offline",
    mend: "start n3",
  };
  const isThere = (found: Record<string, unknown>[]) =>
    found.some(({ title }) => title === wanted.title);
  expect(await until(() => complaints(image), isThere)).toContainEqual(wanted);
});
