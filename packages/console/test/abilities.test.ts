import { Code } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import type { Grant } from "@jetrpc/runtime/operator";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { makeStreams, TestUsers } from "../../runtime/test/secured.js";
import { failureOf } from "../../runtime/test/support.js";
import { Ability } from "../src/gen/jetrpc/console/v1/console_service_pb.js";
import { clientOf, logIn, startTestConsole } from "./support.js";

const grant = (its: Omit<Grant, "service">): Grant[] => [{ ...its, service: TestService }];
const users = new TestUsers({
  operator: grant({ role: "operator" }),
  reader: grant({ role: "observer", mayRead: true }),
  observer: grant({ role: "observer" }),
});
let server: NatsServer;

beforeAll(async () => {
  server = await startNats({ config: users.config });
  const root = await connect({ nats: { servers: server.url, ...users.options("root") } });
  await makeStreams(root, [TestService]);
  await root.close();
});
afterAll(() => server?.stop());

const acts = [Ability.PAUSE, Ability.CANCEL, Ability.REPLAY, Ability.DISCARD];
const service = TestService.typeName;

/** Runs something with a console whose NATS user is this one. */
async function as(user: string, work: (page: ReturnType<typeof clientOf>) => Promise<void>) {
  const running = await startTestConsole(() =>
    connect({ nats: { servers: server.url, ...users.options(user) } }),
  );
  try {
    await work(clientOf(running.url, { cookie: await logIn(running) }));
  } finally {
    await running.close();
  }
}

test("an operator's NATS user may do all that the console has", async () => {
  await as("operator", async (page) => {
    expect((await page.getSession({})).refusals).toEqual([]);
    expect((await page.listCalls({})).calls).toEqual([]);
    await page.pauseMethod({ service, method: "Do" });
    await page.resumeMethod({ service, method: "Do" });
    const [its] = (await page.getInfrastructure({})).services;
    expect(its?.streams.filter(({ exists }) => exists)).toHaveLength(5);
  });
});

test("an observer's NATS user that may read sees calls, and is told that it may not act", async () => {
  await as("reader", async (page) => {
    const { refusals } = await page.getSession({});
    expect(refusals.map(({ ability }) => ability)).toEqual(acts);
    expect(refusals[0]?.service).toBe(service);
    expect(refusals[0]?.reason).toMatch(/credentials of the console may not.*role operator/);
    expect((await page.listCalls({})).calls).toEqual([]);
    const error = await failureOf(page.pauseMethod({ service, method: "Do" }));
    expect(error.code).toBe(Code.PermissionDenied);
  });
});

test("an observer's NATS user sees queues and streams, and is told what it may not see", async () => {
  await as("observer", async (page) => {
    const { refusals } = await page.getSession({});
    expect(refusals.map(({ ability }) => ability)).toEqual([...acts, Ability.LOOK]);
    for await (const { methods, connected, series } of page.watchOverview({})) {
      const its = methods.find(({ method }) => method === "Do");
      expect(connected).toBe(true);
      expect(its?.queued).toBe(0n);
      // It would have to read headers.
      expect(its?.failed).toBeUndefined();
      expect(series?.queued.at(-1)).toBe(0);
      break;
    }
    expect((await page.listWorkers({})).workers).toEqual([]);
    const [its] = (await page.getInfrastructure({})).services;
    expect(its?.streams.find(({ purpose }) => purpose === "queue")?.exists).toBe(true);
    expect(its?.problem).toContain("TEST_PAYLOAD");
    const error = await failureOf(page.listCalls({}));
    expect(error.code).toBe(Code.PermissionDenied);
    expect(error.rawMessage).toContain("mayRead");
  });
});
