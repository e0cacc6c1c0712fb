import { Code, ConnectError } from "@jetrpc/runtime";
import {
  type CallFilter,
  createOperator,
  type DeadLetter,
  type Operator,
} from "@jetrpc/runtime/operator";
import { describe, expect, test } from "vitest";
import { chance } from "../../../test/chance.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { isSecured } from "./secured.js";
import { collect, failureOf, gate, type TestClient, until, useNats } from "./support.js";

const nats = useNats();

async function operator(): Promise<Operator> {
  return createOperator(await nats.connect({ as: "operator" }), TestService);
}

/** All pages of a list, as `<owner>/<id>`. */
async function pages(self: Operator, filter: CallFilter, pageSize: number): Promise<string[][]> {
  const all: string[][] = [];
  for (let pageToken: string | undefined; ; ) {
    const page = await self.listCalls(filter, { pageSize, pageToken });
    all.push(page.calls.map(({ owner, callId }) => `${owner}/${callId}`));
    pageToken = page.nextPageToken;
    if (!pageToken) {
      return all;
    }
  }
}

async function ids(self: Operator, filter: CallFilter = {}): Promise<string[]> {
  return (await pages(self, filter, 1000)).flat();
}

const later = () => new Date(Date.now() + 3_600_000);

describe("a list of calls", () => {
  test("has each state, and what is known of a call in it", async () => {
    const holds = gate();
    const owner = await operator();
    const client = await nats.client({ owner: "acme" });
    const worker = await nats.worker({
      do: async ({ text }, context) => {
        if (text === "hold") {
          await Promise.race([
            holds.opened,
            new Promise((resolve) => context.signal.addEventListener("abort", resolve)),
          ]);
        }
        if (text === "bad") {
          throw new ConnectError("bad input", Code.InvalidArgument);
        }
        return { text };
      },
      picky: () => {
        throw new ConnectError("not yet", Code.Unavailable);
      },
    });
    const before = Date.now();
    await (await client.do.submit({ text: "a" }, { callId: "good" })).result();
    await failureOf((await client.do.submit({ text: "bad" }, { callId: "bad" })).result());
    const held = await client.do.submit({ text: "hold" }, { callId: "held" });
    await until(async () => (await held.status()).state === "running");
    await client.do.submit({ text: "l" }, { callId: "later", notBefore: later() });
    await client.urgent.submit({ text: "q" }, { callId: "queued", priority: "high" });
    const gone = await client.do.submit({ text: "l" }, { callId: "gone", notBefore: later() });
    await gone.cancel();

    await until(async () => (await ids(owner, { states: ["failed"] })).length > 0);
    const calls = await collect(owner.calls());
    const states = Object.fromEntries(calls.map(({ callId, state }) => [callId, state]));
    expect(states).toEqual({
      good: "succeeded",
      bad: "failed",
      held: "running",
      later: "scheduled",
      queued: "queued",
      gone: "cancelled",
    });
    const times = calls.map(({ at }) => Number(at));
    expect(times).toEqual([...times].sort((one, other) => other - one));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(before - 1000);
    const bad = calls.find(({ callId }) => callId === "bad");
    expect(bad).toMatchObject({ method: "Do", owner: "acme", attempts: 1 });
    expect(bad?.error).toMatchObject({ code: Code.InvalidArgument, rawMessage: "bad input" });
    expect(bad?.toJson()).toMatchObject({
      state: "failed",
      error: { code: "invalid_argument", message: "bad input" },
      endedAt: expect.stringMatching(/^20/),
    });
    const scheduled = calls.find(({ callId }) => callId === "later");
    expect(Number(scheduled?.startsAt)).toBeGreaterThan(Date.now() + 3_000_000);
    for (const [callId, state] of Object.entries(states)) {
      expect(await ids(owner, { states: [state] })).toEqual([`acme/${callId}`]);
    }
    const count = async () => (await owner.countCalls()).find(({ method }) => method === "Do");
    // What took the place of the canceled request goes after a second.
    await until(async () => (await count())?.scheduled === 1);
    expect(await count()).toMatchObject({
      scheduled: 1,
      queued: 0,
      running: 1,
      failed: 1,
      recent: { accepted: 5, succeeded: 1, failed: 1, cancelled: 1, expired: 0 },
    });
    const urgent = (await owner.countCalls()).find(({ method }) => method === "Urgent");
    expect(urgent).toMatchObject({ queued: 1, running: 0, oldestQueuedAt: expect.any(Date) });
    holds.open();
    await held.result();
    await worker.drain();
  });

  test("finds the calls of an id, and those that begin with some letters, of any owner", async () => {
    await nats.worker({ do: ({ text }) => ({ text }) });
    const owner = await operator();
    for (const name of ["acme", "a", "b"]) {
      const client = await nats.client({ owner: name });
      for (const callId of ["invoice-1", "invoice-2", "order-1"]) {
        await (await client.do.submit({ text: callId }, { callId })).result();
      }
    }
    const client = await nats.client({ owner: "b" });
    const made = await client.do.submit({ text: "made" });
    await made.result();
    expect((await ids(owner, { callId: "invoice-1" })).sort()).toEqual([
      "a/invoice-1",
      "acme/invoice-1",
      "b/invoice-1",
    ]);
    expect(await ids(owner, { callId: "order-1", owner: "a" })).toEqual(["a/order-1"]);
    expect(await ids(owner, { callId: "order-1", method: "count" })).toEqual([]);
    expect(await ids(owner, { callIdPrefix: "invoice", owner: "acme" })).toEqual([
      "acme/invoice-2",
      "acme/invoice-1",
    ]);
    expect(await ids(owner, { callId: made.id })).toEqual([`b/${made.id}`]);
    expect(await ids(owner, { callIdPrefix: made.id.slice(0, -1) })).toEqual([`b/${made.id}`]);
    expect(await ids(owner, { callIdPrefix: made.id.slice(0, 8) })).toEqual([`b/${made.id}`]);
  });

  test("finds a text in ids, errors, requests and results, and tells what it could not look into", async () => {
    const worker = await nats.worker({
      do: ({ text }) => {
        if (text.includes("4711")) {
          throw new ConnectError("the address has no @", Code.InvalidArgument);
        }
        return { text: "receipt R-77" };
      },
    });
    const client = await nats.client();
    await (await client.do.submit({ text: "about shoes" }, { callId: "good" })).result();
    await failureOf((await client.do.submit({ text: "Invoice 4711" }, { callId: "bad" })).result());
    await worker.drain();
    await client.do.submit({ text: "invoice 4712" }, { callId: "later", notBefore: later() });
    await client.urgent.submit({ text: "INVOICE 4713" }, { callId: "queued", priority: "high" });
    // An object has it.
    const large = `${"x".repeat(1_100_000)} invoice 4714`;
    await client.urgent.submit({ text: large }, { callId: "large" });
    const self = await operator();
    await until(async () => (await ids(self, { states: ["failed"] })).length > 0);
    const found = async (contains: string, more: CallFilter = {}) =>
      (await ids(self, { contains, ...more })).sort();
    expect(await found("invoice 471")).toEqual(["_/bad", "_/later", "_/queued"]);
    expect(await found("invoice 471", { states: ["failed"] })).toEqual(["_/bad"]);
    expect(await found("invoice 471", { callId: "later" })).toEqual(["_/later"]);
    expect(await found("invoice 471", { callId: "good" })).toEqual([]);
    expect(await found("r-77")).toEqual(["_/good"]);
    expect(await found("GOO")).toEqual(["_/good"]);
    expect(await found("has no @")).toEqual(["_/bad"]);
    // The server keeps no request of a call that succeeded.
    expect(await found("shoes")).toEqual([]);

    const page = await self.listCalls({ contains: "invoice 471" }, { pageSize: 1 });
    expect(page).toMatchObject({ looked: expect.any(Number), unread: 1 });
    expect(page.looked).toBeGreaterThanOrEqual(5);
    expect((await self.listCalls({})).unread).toBe(0);
    const pageToken = page.nextPageToken;
    expect(await failureOf(self.listCalls({ contains: "other" }, { pageToken }))).toMatchObject({
      code: Code.InvalidArgument,
    });
    expect(await self.actOnCalls("cancel", { contains: "invoice 471" })).toMatchObject({
      matched: 2,
      done: 2,
    });
    expect((await self.showCall({ method: "urgent", callId: "large" })).state).toBe("queued");
  });

  test("goes on as wide as the page before it was, and no page depends on that", async () => {
    const client = await nats.client();
    const expected: string[] = [];
    for (let n = 0; n < 30; n++) {
      await client.urgent.submit({ text: "" }, { callId: `n-${n}` });
      expected.unshift(`_/n-${n}`);
    }
    const self = await operator();
    const { nextPageToken = "" } = await self.listCalls({}, { pageSize: 1 });
    for (const [wanted, span] of [
      [64, 1],
      [4096, 10_000_000],
    ]) {
      const [key, cursors] = JSON.parse(Buffer.from(nextPageToken, "base64url").toString());
      Object.assign(cursors.queue, { wanted, span });
      const pageToken = Buffer.from(JSON.stringify([key, cursors])).toString("base64url");
      const { calls } = await self.listCalls({}, { pageSize: 1000, pageToken });
      const found = calls.map(({ owner, callId }) => `${owner}/${callId}`);
      expect(found).toEqual(expected.slice(1));
    }
    for (const forged of [
      { span: 0 },
      { span: null },
      { span: 2 ** 53 },
      { span: -1 },
      { wanted: null },
      { wanted: 0.5 },
      { before: 2 ** 52 },
    ]) {
      const [key, cursors] = JSON.parse(Buffer.from(nextPageToken, "base64url").toString());
      Object.assign(cursors.queue, forged);
      const pageToken = Buffer.from(JSON.stringify([key, cursors])).toString("base64url");
      expect(
        await failureOf(self.listCalls({}, { pageToken })),
        JSON.stringify(forged),
      ).toMatchObject({ code: Code.InvalidArgument });
    }
  });

  test("is for an observer that may read, who may change nothing; another one is told who may", async () => {
    const client = await nats.client();
    await client.urgent.submit({ text: "q" }, { callId: "q" });
    const reader = createOperator(await nats.connect({ as: "reader" }), TestService);
    expect(await ids(reader)).toEqual(["_/q"]);
    const counts = await reader.countCalls();
    expect(counts.find(({ method }) => method === "Urgent")).toMatchObject({ queued: 1 });
    const story = await reader.showCall({ method: "urgent", callId: "q" });
    expect(await story.request()).toMatchObject({ text: "q" });
    if (!isSecured) {
      return;
    }
    await nats.worker({
      do: () => {
        throw new ConnectError("never", Code.InvalidArgument);
      },
    });
    await failureOf(client.do({}));
    const letters: DeadLetter[] = [];
    await until(async () => letters.push(...(await collect(reader.deadLetters()))) > 0);
    const [letter] = letters as [DeadLetter];
    const observer = createOperator(await nats.connect({ as: "observer" }), TestService);
    for (const [refused, role] of [
      [() => story.cancel(), "operator"],
      [() => letter.replay(), "role operator"],
      [() => letter.discard(), "role operator"],
      [() => reader.pause("Do"), "role operator"],
      [() => reader.resume("Do"), "role operator"],
      [() => collect(observer.deadLetters()), "mayRead"],
      [() => reader.actOnCalls("cancel", {}), "operator"],
      [() => reader.actOnCalls("replay", {}), "role operator"],
      [() => reader.actOnCalls("discard", {}), "role operator"],
      [() => observer.listCalls(), "mayRead"],
      [() => observer.countCalls(), "mayRead"],
      [() => observer.showCall({ method: "urgent", callId: "q" }), "mayRead"],
    ] as const) {
      const { code, rawMessage } = await failureOf(refused());
      expect({ code, rawMessage }).toEqual({
        code: Code.PermissionDenied,
        rawMessage: expect.stringContaining(role),
      });
      // An act on many consists of acts on one, which say it, too.
      expect(rawMessage.match(/an operator may/g)).toHaveLength(1);
    }
    expect((await reader.showCall({ method: "urgent", callId: "q" })).state).toBe("queued");
  });

  test("refuses what no call can be, and a token of another list", async () => {
    const owner = await operator();
    await (await nats.client()).do.submit({ text: "x" });
    await (await nats.client()).do.submit({ text: "y" });
    const wrong: CallFilter[] = [
      { states: ["done" as "failed"] },
      { states: "failed" as never },
      { method: "Get" },
      { method: "Nothing" },
      { method: "*" },
      { owner: "a.b" },
      { callId: "a b" },
      { callId: "a", callIdPrefix: "a" },
      { since: new Date("never") },
    ];
    for (const filter of wrong) {
      expect(await failureOf(owner.listCalls(filter))).toMatchObject({
        code: Code.InvalidArgument,
      });
    }
    const unknown = await failureOf(owner.listCalls({ method: "Doo" }));
    expect(unknown.rawMessage).toContain('no durable method "Doo": it has Do, Limited,');
    for (const option of ["windowMs", "maxEntries"]) {
      expect(await failureOf(owner.countCalls({ [option]: Number.NaN }))).toMatchObject({
        code: Code.InvalidArgument,
        rawMessage: expect.stringMatching(`^${option} is NaN, and must be a number`),
      });
    }
    const { nextPageToken } = await owner.listCalls({}, { pageSize: 1 });
    expect(nextPageToken).toBeDefined();
    for (const pageToken of [nextPageToken, "x", "W10="]) {
      const other = owner.listCalls({ method: "do" }, { pageToken });
      expect(await failureOf(other)).toMatchObject({ code: Code.InvalidArgument });
    }
    for (const pageSize of [0, 1001, 1.5]) {
      expect(await failureOf(owner.listCalls({}, { pageSize }))).toMatchObject({
        code: Code.InvalidArgument,
      });
    }
  });
});

/** A call of the model. */
interface Modelled {
  readonly owner: string;
  readonly callId: string;
  readonly method: "do" | "picky" | "urgent";
  readonly state: string;
}

test("a call that is looked for by its id is found while it moves on", async () => {
  const self = await operator();
  await nats.worker({ do: () => ({}) });
  const client = await nats.client();
  for (let index = 0; index < 100; index++) {
    const callId = `moving-${index}`;
    const call = await client.do.submit({}, { callId });
    const looks = [1, 2, 3, 4].map(() => self.listCalls({ callId }));
    for (const { calls } of await Promise.all(looks)) {
      expect(calls.map((each) => each.callId)).toEqual([callId]);
    }
    await call.result();
  }
});

test("a call that is looked for by its id is found once while it is replayed", async () => {
  const self = await operator();
  const worker = await nats.worker({
    do: () => {
      throw new ConnectError("no", Code.InvalidArgument);
    },
  });
  const client = await nats.client();
  const all = Array.from({ length: 30 }, (_, index) => `back-${index}`);
  const calls = await Promise.all(all.map((callId) => client.do.submit({}, { callId })));
  await Promise.all(calls.map((call) => failureOf(call.result())));
  await until(async () => (await collect(self.deadLetters())).length === all.length);
  await worker.drain();
  for await (const letter of self.deadLetters()) {
    const { callId } = letter;
    let isReplayed = false;
    const replayed = letter.replay().then(() => {
      isReplayed = true;
    });
    do {
      const { calls } = await self.listCalls({ callId });
      expect(calls.map((each) => each.callId)).toEqual([callId]);
    } while (!isReplayed);
    await replayed;
  }
});

test("a list of a random history has what the model has, and its pages join while calls are added", async () => {
  const random = chance();
  await nats.worker({
    do: ({ text }) => {
      if (text === "fail") {
        throw new ConnectError("no", Code.InvalidArgument);
      }
      return { text };
    },
    picky: ({ text }) => ({ text }),
  });
  const owners = ["acme", "a", "b"] as const;
  const clients = new Map<string, TestClient>();
  for (const owner of owners) {
    clients.set(owner, await nats.client({ owner }));
  }
  const model: Modelled[] = [];
  const add = async () => {
    const owner = owners[random(3)] as string;
    const client = clients.get(owner) as TestClient;
    const callId = `${["x", "y", "xy"][random(3)]}-${model.length}`;
    const kind = random(6);
    const [method, state] = (
      [
        ["do", "succeeded"],
        ["do", "failed"],
        ["picky", "succeeded"],
        ["urgent", "queued"],
        ["do", "scheduled"],
        ["urgent", "cancelled"],
      ] as const
    )[kind] as readonly [Modelled["method"], string];
    const text = state === "failed" ? "fail" : "ok";
    const notBefore = state === "scheduled" ? later() : undefined;
    const call = await client[method].submit({ text }, { callId, notBefore });
    if (state === "succeeded" || state === "failed") {
      await call.result().catch(() => undefined);
    } else if (state === "cancelled") {
      await call.cancel();
    }
    model.push({ owner, callId, method, state });
  };
  const self = await operator();
  for (let count = 0; count < 60; count++) {
    await add();
  }
  // A worker stores a dead letter after the end that the caller hears.
  const buried = async () =>
    (await ids(self, { states: ["failed"] })).length ===
    model.filter(({ state }) => state === "failed").length;
  const names = (calls: readonly Modelled[]) =>
    calls.map(({ owner, callId }) => `${owner}/${callId}`).sort();
  const check = async (filter: CallFilter, fits: (call: Modelled) => boolean) => {
    await until(buried);
    const expected = names(model.filter(fits));
    const pageSize = 1 + random(20);
    const found: string[] = [];
    for (let pageToken: string | undefined; ; ) {
      const page = await self.listCalls(filter, { pageSize, pageToken });
      expect(page.calls.length).toBeLessThanOrEqual(pageSize);
      found.push(...page.calls.map(({ owner, callId }) => `${owner}/${callId}`));
      pageToken = page.nextPageToken;
      if (!pageToken) {
        break;
      }
      if (random(3) === 0) {
        await add();
      }
    }
    expect(found.sort(), JSON.stringify(filter)).toEqual(expected);
  };
  await check({}, () => true);
  for (const state of ["succeeded", "failed", "queued", "scheduled", "cancelled"] as const) {
    await check({ states: [state] }, (call) => call.state === state);
  }
  await check({ states: ["failed", "queued"] }, ({ state }) => /^(failed|queued)$/.test(state));
  for (const owner of owners) {
    await check({ owner }, (call) => call.owner === owner);
  }
  for (const method of ["do", "picky", "urgent"] as const) {
    await check({ method }, (call) => call.method === method);
    await check({ method, owner: "a", callIdPrefix: "x" }, (call) => {
      return call.method === method && call.owner === "a" && call.callId.startsWith("x");
    });
  }
  await check({ callIdPrefix: "x-" }, ({ callId }) => callId.startsWith("x-"));
  await until(buried);
  const all = await collect(self.calls());
  const middle = all[Math.floor(all.length / 2)]?.at as Date;
  const expected = (fits: (at: Date) => boolean) =>
    all.filter(({ at }) => fits(at)).map(({ owner, callId }) => `${owner}/${callId}`);
  expect(await ids(self, { since: middle })).toEqual(expected((at) => at >= middle));
  expect((await ids(self, { until: middle })).sort()).toEqual(expected((at) => at < middle).sort());
});
