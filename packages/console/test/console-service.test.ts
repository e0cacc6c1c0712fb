import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { apiTokens, createApiToken, hashApiToken } from "@jetrpc/gateway";
import { blobOf, Code, ConnectError, createClient } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { typesOf } from "@jetrpc/runtime/schema";
import { createVideoClient, VideoService } from "@jetrpc-examples/video-v1-client";
import { describe, expect, test } from "vitest";
import { PriorityService, TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import {
  collect,
  failureOf,
  gate,
  type TestClient,
  type TestImpl,
  until,
} from "../../runtime/test/support.js";
import {
  Ability,
  BulkAct,
  CallState,
  Delivery,
  Place,
  Severity,
  type WatchOverviewResponse,
} from "../src/gen/jetrpc/console/v1/console_service_pb.js";
import { readMethods } from "../src/index.js";
import { type ConsoleClient, clientOf, logIn, provideConsoles, send } from "./support.js";

const { nats, start, client } = provideConsoles();
const service = "test.v1.TestService";
const nameOf = (callId: string, method = "Do") => ({ service, method, owner: "_", callId });

/** A worker that refuses "bad" and fails with a number of its own for "odd". */
const refusing: TestImpl = {
  do: ({ text }) => {
    if (text.startsWith("bad")) {
      throw new ConnectError(`there is no invoice "${text}" 42`, Code.NotFound);
    }
    if (text.startsWith("odd")) {
      throw new Error("a secret of the handler");
    }
    return { text };
  },
};

/** Calls of Do that have ended, by their texts, which are their ids. */
async function ended(self: TestClient, texts: readonly string[]): Promise<void> {
  for (const text of texts) {
    const call = await self.do.submit({ text }, { callId: text });
    await call.result().catch(() => undefined);
  }
  await buried(texts.filter((text) => /^(bad|odd)/.test(text)).length);
}

/** Waits for so many dead letters: a worker stores one after the end that the caller hears. */
async function buried(count: number): Promise<void> {
  const operator = createOperator(await nats.connect(), TestService);
  await until(async () => (await collect(operator.deadLetters())).length === count);
}

/** The first state of an overview that is as it is wanted. */
async function seen(
  page: ConsoleClient,
  isWanted: (state: WatchOverviewResponse) => boolean,
): Promise<WatchOverviewResponse> {
  for await (const state of page.watchOverview({})) {
    if (isWanted(state)) {
      return state;
    }
  }
  throw new Error("the stream has ended");
}

describe("calls", () => {
  test("are listed, filtered and counted", async () => {
    await nats.worker(refusing);
    await ended(await nats.client(), ["a-1", "a-2", "bad-1"]);
    await (await nats.client()).picky.submit({ text: "waits" }, { callId: "waits" });
    const { client: page } = await client();
    const all = await page.listCalls({});
    expect(all.nextPageToken).toBe("");
    expect(all.calls.map(({ name, state }) => [name?.callId, state])).toEqual([
      ["waits", CallState.QUEUED],
      ["bad-1", CallState.FAILED],
      ["a-2", CallState.SUCCEEDED],
      ["a-1", CallState.SUCCEEDED],
    ]);
    expect(all.calls[1]).toMatchObject({
      name: nameOf("bad-1"),
      attempts: 1,
      error: { code: "not_found", message: 'there is no invoice "bad-1" 42' },
    });
    const ids = async (filter: object) =>
      (await page.listCalls({ filter })).calls.map(({ name }) => name?.callId);
    expect(await ids({ states: [CallState.FAILED] })).toEqual(["bad-1"]);
    expect(await ids({ callIdPrefix: "a-" })).toEqual(["a-2", "a-1"]);
    expect(await ids({ callId: "a-1" })).toEqual(["a-1"]);
    expect(await ids({ service, method: "Picky" })).toEqual(["waits"]);
    expect(await ids({ owner: "acme" })).toEqual([]);
    expect(await ids({ contains: "NO INVOICE" })).toEqual(["bad-1"]);
    expect(await ids({ contains: "WAIT" })).toEqual(["waits"]);
    expect(await page.listCalls({ filter: { contains: "waits" } })).toMatchObject({
      looked: expect.any(Number),
      unread: 0,
    });
    expect(await ids({ since: timestampFromDate(new Date(Date.now() + 60_000)) })).toEqual([]);
    const refused = async (filter: object) => (await failureOf(page.listCalls({ filter }))).code;
    expect(await refused({ method: "Do" })).toBe(Code.InvalidArgument);
    expect(await refused({ service: "test.v1.NoService" })).toBe(Code.NotFound);
    expect(await refused({ service, method: "Nothing" })).toBe(Code.InvalidArgument);
    expect(await refused({ callId: "a", callIdPrefix: "a" })).toBe(Code.InvalidArgument);

    const { counts } = await page.countCalls({ service });
    expect(counts.find(({ method }) => method === "Do")).toMatchObject({
      failed: 1n,
      recentSucceeded: 2n,
      recentFailed: 1n,
      recentAccepted: 3n,
    });
    expect((await failureOf(page.countCalls({ windowSeconds: -1 }))).code).toBe(
      Code.InvalidArgument,
    );
  });

  test("of two services are merged into pages, each call once", async () => {
    const services = [PriorityService, TestService];
    const { client: page } = await client({
      schema: async () => ({ services, registry: typesOf(TestService) }),
    });
    const connection = await nats.connect();
    const other = createClient<{ many: TestClient["do"] }>(PriorityService, connection);
    const test = await nats.client();
    const expected: string[] = [];
    for (let i = 0; i < 25; i++) {
      const its = i % 3 === 0 ? other.many : test.picky;
      await its.submit({ text: "" }, { callId: `call-${i}` });
      expected.unshift(`call-${i}`);
    }
    for (const pageSize of [1, 4, 25, 100]) {
      const found: (string | undefined)[] = [];
      let pageToken = "";
      do {
        const answer = await page.listCalls({ pageSize, pageToken });
        found.push(...answer.calls.map(({ name }) => name?.callId));
        pageToken = answer.nextPageToken;
      } while (pageToken !== "");
      expect(found).toEqual(expected);
    }
    const error = await failureOf(page.listCalls({ pageToken: "x" }));
    expect(error.code).toBe(Code.InvalidArgument);
  });

  test("have a story, with request, messages, attempts and the cause", async () => {
    await nats.worker({
      ...refusing,
      count: async function* () {
        yield* [{ index: 1 }, { index: 2 }];
      },
    });
    const test = await nats.client();
    await ended(test, ["odd"]);
    await collect(await test.count.submit({ text: "stream" }, { callId: "stream" }));
    const { client: page } = await client();
    const { story } = await page.getCall({ name: nameOf("odd") });
    expect(story).toMatchObject({
      name: nameOf("odd"),
      state: CallState.FAILED,
      error: { code: "internal" },
      can: [Ability.REPLAY, Ability.DISCARD],
    });
    expect(JSON.parse(story?.request?.json ?? "")).toEqual({ text: "odd" });
    expect(story?.cause).toContain("a secret of the handler");
    expect(story?.attempts.at(-1)?.error?.code).toBe("internal");
    const stream = await page.getCall({ name: nameOf("stream", "Count"), messagesFrom: 1 });
    expect(stream.story).toMatchObject({ state: CallState.SUCCEEDED, messages: 2, can: [] });
    expect(stream.story?.request).toBeUndefined();
    expect(stream.messages.map(({ json }) => JSON.parse(json))).toEqual([{ index: 2 }]);
    expect((await failureOf(page.getCall({ name: nameOf("none") }))).code).toBe(Code.NotFound);
    expect((await failureOf(page.getCall({}))).code).toBe(Code.InvalidArgument);
  });

  test("are followed to their end: progress and messages as they come", async () => {
    const goes = gate();
    await nats.worker({
      count: async function* (_, context) {
        yield { index: 0 };
        context.progress({ done: 1, total: 2, message: "half" });
        await goes.opened;
        yield { index: 1 };
      },
    });
    await (await nats.client()).count.submit({}, { callId: "long" });
    const { client: page } = await client();
    const indexes: number[] = [];
    let last: CallState | undefined;
    for await (const update of page.followCall({ name: nameOf("long", "Count") })) {
      expect(update.messagesFrom).toBe(indexes.length);
      indexes.push(...update.messages.map(({ json }) => JSON.parse(json).index ?? 0));
      last = update.story?.state;
      if (update.story?.progress?.message === "half") {
        goes.open();
      }
    }
    expect(indexes).toEqual([0, 1]);
    expect(last).toBe(CallState.SUCCEEDED);
  });

  test("are canceled, and told when there was nothing to do", async () => {
    await (await nats.client()).picky.submit({ text: "" }, { callId: "waits" });
    const { running, client: page } = await client();
    const names = [nameOf("waits", "Picky"), nameOf("none", "Picky")];
    const { outcomes } = await page.cancelCalls({ names });
    expect(outcomes.map(({ done, error }) => [done, error?.code])).toEqual([
      [true, undefined],
      [false, "not_found"],
    ]);
    const again = await page.cancelCalls({ names: names.slice(0, 1) });
    expect(again.outcomes).toMatchObject([{ done: false }]);
    expect(again.outcomes[0]?.error).toBeUndefined();
    expect(running.acts.slice(1)).toMatchObject([
      { user: "local", act: "cancel", count: 1, failed: true },
      { user: "local", act: "cancel", outcome: "nothing to do", count: 0, call: names[0] },
    ]);
    expect((await failureOf(page.cancelCalls({}))).code).toBe(Code.InvalidArgument);
  });
});

describe("dead letters", () => {
  test("are grouped by error; a group is listed, and acted upon alone", async () => {
    await nats.worker(refusing);
    await ended(await nats.client(), ["bad-1", "odd-1", "bad-2", "bad-3"]);
    const { running, client: page } = await client();
    const { groups } = await page.groupDeadLetters({});
    expect(groups).toMatchObject([
      { service, method: "Do", code: "not_found", pattern: "there is no invoice … #", count: 3n },
      { service, method: "Do", code: "internal", count: 1n },
    ]);
    expect(groups[0]?.example?.name?.callId).toBe("bad-3");
    const errorGroup = groups[0]?.errorGroup ?? "";
    const listed = await page.listCalls({ filter: { errorGroup } });
    expect(listed.calls.map(({ name }) => name?.callId)).toEqual(["bad-3", "bad-2", "bad-1"]);
    const mixed = { errorGroup, states: [CallState.QUEUED] };
    expect((await failureOf(page.listCalls({ filter: mixed }))).code).toBe(Code.InvalidArgument);

    const act = async (dryRun: boolean) =>
      (await collect(page.actOnCalls({ act: BulkAct.DISCARD, filter: { errorGroup }, dryRun }))).at(
        -1,
      );
    expect(await act(true)).toMatchObject({ matched: 3n, done: 0n, isComplete: true });
    expect(running.acts.slice(1)).toEqual([]);
    expect(await act(false)).toMatchObject({ matched: 3n, done: 3n, isComplete: true });
    const left = await page.groupDeadLetters({});
    expect(left.groups).toMatchObject([{ code: "internal", count: 1n }]);
    expect(running.acts.slice(1)).toMatchObject([
      { act: "discard", outcome: "begun" },
      { act: "discard", outcome: "done", count: 3 },
    ]);
  });

  test("are checked field by field, and replayed with a corrected request", async () => {
    await nats.worker(refusing);
    const test = await nats.client();
    await ended(test, ["bad-1"]);
    const { running, client: page } = await client();
    const name = nameOf("bad-1");
    const check = async (requestJson: string) =>
      (await page.checkRequest({ name, requestJson })).problems;
    expect(await check('{"text": "good"}')).toEqual([]);
    expect((await check('{"text": 1, "txt": ""}')).map(({ path }) => path)).toEqual([
      "text",
      "txt",
    ]);
    expect(await check('{\n  "text": "a" "b"}')).toMatchObject([{ path: "", line: 2, column: 15 }]);
    expect(await check('{"text": "a"')).toMatchObject([{ line: 1, column: 13 }]);
    expect(await check('{"text": nothing}')).toMatchObject([{ path: "" }]);
    const refused = await failureOf(page.replayCall({ name, requestJson: '{"txt": ""}' }));
    expect(refused.code).toBe(Code.InvalidArgument);
    expect(refused.rawMessage).toContain("txt");
    expect(running.acts.slice(1)).toEqual([]);
    expect(await page.replayCall({ name, requestJson: '{"text": "good"}' })).toMatchObject({
      replayed: true,
    });
    expect(await test.do.attach("bad-1").result()).toMatchObject({ text: "good" });
    expect((await failureOf(page.checkRequest({ name, requestJson: "{}" }))).code).toBe(
      Code.NotFound,
    );
    expect(running.acts.at(-1)).toMatchObject({ act: "replay", outcome: "done", count: 1 });
  });

  test("are replayed and discarded, one and many", async () => {
    await nats.worker(refusing);
    await ended(await nats.client(), ["bad-1", "bad-2", "bad-3", "bad-4"]);
    const { client: page } = await client();
    const replayed = await page.replayCalls({ names: [nameOf("bad-1")] });
    expect(replayed.outcomes).toMatchObject([{ done: true }]);
    const discarded = await page.discardCalls({ names: [nameOf("bad-2")] });
    expect(discarded.outcomes).toMatchObject([{ done: true }]);
    const again = await page.discardCalls({ names: [nameOf("bad-2")] });
    expect(again.outcomes[0]?.done).toBe(false);
    const reports = await collect(
      page.actOnCalls({ act: BulkAct.DISCARD, filter: { callIdPrefix: "bad-" } }),
    );
    expect(reports.at(-1)).toMatchObject({ isComplete: true, failed: 0n });
    expect((await failureOf(collect(page.actOnCalls({})))).code).toBe(Code.InvalidArgument);
    const wrong = { act: BulkAct.REPLAY, resumeToken: "x" };
    expect((await failureOf(collect(page.actOnCalls(wrong)))).code).toBe(Code.InvalidArgument);
  });

  test("an act on many that is cut short says so in the log, and goes on by its token", async () => {
    await nats.worker(refusing);
    const test = await nats.client();
    const texts = Array.from({ length: 200 }, (_, i) => `bad-${i}`);
    const calls = await Promise.all(
      texts.map((text) => test.do.submit({ text }, { callId: text })),
    );
    await Promise.all(calls.map((call) => call.result().catch(() => undefined)));
    await buried(texts.length);
    const { running, client: page } = await client();
    const request = { act: BulkAct.DISCARD, filter: { service } };
    let resumeToken = "";
    const leaves = new AbortController();
    const left = (async () => {
      for await (const report of page.actOnCalls(request, { signal: leaves.signal })) {
        ({ resumeToken } = report);
        leaves.abort();
      }
    })();
    await failureOf(left);
    await until(() => running.acts.at(-1)?.outcome !== "begun");
    expect(running.acts.at(-1)).toMatchObject({ act: "discard", outcome: "cut short" });
    expect((await page.groupDeadLetters({})).groups.length).toBe(1);
    const rest = (await collect(page.actOnCalls({ ...request, resumeToken }))).at(-1);
    expect(rest?.isComplete).toBe(true);
    expect((await page.groupDeadLetters({})).groups).toEqual([]);
  });
});

describe("the overview", () => {
  test("has figures, series, workers and what is wrong", async () => {
    const { client: page } = await client();
    const test = await nats.client();
    await test.picky.submit({ text: "" }, { callId: "waits" });
    const waiting = await seen(page, ({ problems }) =>
      problems.some(({ severity }) => severity === Severity.ERROR),
    );
    expect(waiting.connected).toBe(true);
    expect(waiting.problems[0]).toMatchObject({
      severity: Severity.ERROR,
      title: `${service}.Picky: a call waits, and no worker serves it`,
      place: Place.WORKERS,
      service,
      method: "Picky",
    });
    await nats.worker({ ...refusing, get: () => ({}), picky: () => ({}) });
    await ended(test, ["a", "bad-1"]);
    await test.get({});
    const busy = await seen(
      page,
      ({ series, workers, problems }) =>
        [series?.succeeded, series?.failed, series?.handled, series?.duration].every((numbers) =>
          numbers?.some((each) => each > 0),
        ) &&
        workers.some((each) => each.workers === 1) &&
        problems.some(({ place }) => place === Place.DEAD_LETTERS),
    );
    const { series } = busy;
    expect(series?.at.length).toBe(series?.accepted.length);
    const its = busy.methods.find(({ method }) => method === "Do");
    expect(its).toMatchObject({
      service,
      delivery: Delivery.DURABLE,
      workers: 1,
      failed: 1n,
      paused: false,
    });
    expect(busy.methods.find(({ method }) => method === "Get")?.queued).toBeUndefined();
    // On a busy machine a worker may answer too late.
    await expect
      .poll(async () => (await page.getMethod({ service, method: "Do" })).state?.workers)
      .toHaveLength(1);
    const { state } = await page.getMethod({ service, method: "Do" });
    expect(state?.options.find(({ name }) => name === "max_attempts")?.value).toBe("3");
    expect((await failureOf(page.getMethod({ service, method: "No" }))).code).toBe(Code.NotFound);
    await expect
      .poll(async () => {
        const { workers } = await page.listWorkers({});
        return workers[0]?.methods.find(({ method }) => method === "Do");
      })
      .toMatchObject({ calls: 2n });
  });

  test("says that the server has gone, and goes on when it is back", async () => {
    const server = await nats.start();
    try {
      const running = await start({ connect: () => nats.connect({ url: server.url, keep: true }) });
      const page = clientOf(running.url, { cookie: await logIn(running) });
      const stream = page.watchOverview({})[Symbol.asyncIterator]();
      const state = async (connected: boolean) => {
        for (;;) {
          const { value } = await stream.next();
          if (value?.connected === connected) {
            return value as WatchOverviewResponse;
          }
        }
      };
      await state(true);
      await server.kill();
      const gone = await state(false);
      expect(gone.problems[0]?.title).toContain("does not answer");
      expect((await failureOf(page.listCalls({}))).code).toBe(Code.Unavailable);
      expect((await page.getSession({})).server?.connected).toBe(false);
      await server.restart();
      await state(true);
      expect((await page.listWorkers({})).workers).toEqual([]);
      expect(running.logged.join("\n")).toMatch(/does not answer.*\n.*is there again/);
    } finally {
      await server.stop();
    }
  });

  test("follows a pause and its end", async () => {
    const { running, client: page } = await client();
    await nats.worker({ do: () => ({}) });
    const stream = page.watchMethod({ service, method: "Do" })[Symbol.asyncIterator]();
    const paused = async (wanted: boolean) => {
      for (;;) {
        const { value } = await stream.next();
        if (value?.state?.figures?.paused === wanted) {
          return value.state;
        }
      }
    };
    await paused(false);
    await page.pauseMethod({ service, method: "Do" });
    const state = await paused(true);
    expect(state.figures?.pausedUntil).toBeUndefined();
    expect(state.problems).toMatchObject([{ severity: Severity.NOTE }]);
    const until = timestampFromDate(new Date(Date.now() + 3_600_000));
    await page.pauseMethod({ service, method: "Do", until });
    expect(
      (await page.getMethod({ service, method: "Do" })).state?.figures?.pausedUntil?.seconds,
    ).toBe(until.seconds);
    await page.resumeMethod({ service, method: "Do" });
    await paused(false);
    expect(running.acts.slice(1).map(({ act }) => act)).toEqual(["pause", "pause", "resume"]);
  });
});

test("streams are shown, and how they differ from the schema", async () => {
  const { client: page } = await client();
  const before = await page.getInfrastructure({});
  expect(before.services[0]?.streams.every(({ exists }) => !exists)).toBe(true);
  expect(before.services[0]?.drift.length).toBeGreaterThan(4);
  await nats.worker({ do: () => ({}) });
  await (await nats.client()).picky.submit({ text: "" });
  const after = await page.getInfrastructure({});
  const [its] = after.services;
  expect(its?.problem).toBe("");
  expect(its?.streams.find(({ purpose }) => purpose === "queue")).toMatchObject({
    name: "TEST",
    exists: true,
    messages: 1n,
    storage: "file",
  });
});

test("acts are in the file, and those of before are shown, the newest first", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jetrpc-acts-"));
  try {
    const actLog = join(folder, "acts.jsonl");
    const first = await client({ actLog });
    await nats.worker({ do: () => ({}) });
    await first.client.pauseMethod({ service, method: "Do" });
    await first.running.close();
    const second = await start({ actLog });
    const page = clientOf(second.url, { cookie: await logIn(second) });
    await page.resumeMethod({ service, method: "Do" });
    const { acts, file } = await page.listActs({});
    expect(file).toBe(actLog);
    expect(acts.map(({ act }) => act)).toEqual(["resume", "login", "pause", "login"]);
    expect(acts[2]).toMatchObject({ user: "local", target: `${service}.Do`, outcome: "done" });
    const lines = readFileSync(actLog, "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line).act)).toEqual([
      "login",
      "pause",
      "login",
      "resume",
    ]);
    // A long log is not read whole, and an act that names many calls is shown short.
    const names = Array.from({ length: 100 }, (_, index) => nameOf(`none-${index}`));
    await page.cancelCalls({ names });
    expect((await page.listActs({})).acts[0]?.target.length).toBeLessThan(1_100);
    const last = readFileSync(actLog, "utf8").trim().split("\n").at(-1) ?? "";
    expect(JSON.parse(last).target).toContain("none-99");
    await second.close();
    writeFileSync(actLog, `${`${last}\n`.repeat(2_000)}{"half`);
    const third = await start({ actLog });
    const after = clientOf(third.url, { cookie: await logIn(third) });
    const { acts: shown } = await after.listActs({});
    expect(shown.slice(0, 2).map(({ act }) => act)).toEqual(["login", "cancel"]);
    // A line that was cut off does not spoil the next one.
    const end = readFileSync(actLog, "utf8").trim().split("\n").at(-1) ?? "";
    expect(JSON.parse(end).act).toBe("login");
    expect(shown.every(({ target }) => target.length < 1_100)).toBe(true);
    expect((await failureOf(after.cancelCalls({ names: Array(1_001).fill(names[0]) }))).code).toBe(
      Code.InvalidArgument,
    );
    expect((await after.listActs({})).acts[0]?.act).toBe("login");
    const error = await failureOf(start({ actLog: join(folder, "no/such/file") }));
    expect(error.code).toBe(Code.InvalidArgument);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("values are hidden from the role read alone, where that is asked for", async () => {
  const [reader, actor] = [createApiToken(), createApiToken()];
  const tokens = apiTokens([
    { sha256: hashApiToken(reader), name: "rita", methods: readMethods },
    { sha256: hashApiToken(actor), name: "ada" },
  ]);
  const { url } = await start({ login: { authenticate: tokens }, mask: true });
  await nats.worker({
    do: () => {
      throw new Error("why, with iban-42");
    },
  });
  const test = await nats.client();
  const call = await test.do.submit(
    { text: "iban-42" },
    { callId: "call", headers: { "x-note": "iban-42" } },
  );
  await failureOf(call.result());
  const as = (token: string) => clientOf(url, { authorization: `Bearer ${token}` });
  const rita = await as(reader).getCall({ name: nameOf("call") });
  expect(
    JSON.stringify(rita, (_, value) => (typeof value === "bigint" ? `${value}` : value)),
  ).not.toContain("iban");
  expect(JSON.parse(rita.story?.request?.json ?? "").text).toBe("***");
  expect((await as(reader).getSession({})).masked).toBe(true);
  const check = { name: nameOf("call"), requestJson: "{}" };
  expect((await failureOf(as(reader).checkRequest(check))).code).toBe(Code.PermissionDenied);
  expect((await as(actor).checkRequest(check)).problems).toEqual([]);
  // Whether something is found tells what is there.
  const filter = { contains: "iban" };
  for (const looks of [as(reader).listCalls({ filter }), as(reader).groupDeadLetters({ filter })]) {
    expect((await failureOf(looks)).code).toBe(Code.PermissionDenied);
  }
  const dryRun = { act: BulkAct.REPLAY, filter, dryRun: true };
  const counts = async () => {
    for await (const each of as(reader).actOnCalls(dryRun)) {
      return each;
    }
    return undefined;
  };
  expect((await failureOf(counts())).code).toBe(Code.PermissionDenied);
  expect((await as(actor).listCalls({ filter })).calls).toHaveLength(1);
  const ada = await as(actor).getCall({ name: nameOf("call") });
  expect(JSON.parse(ada.story?.request?.json ?? "").text).toBe("iban-42");
  expect(ada.story?.metadata).toContainEqual(
    expect.objectContaining({ name: "x-note", value: "iban-42" }),
  );
  expect(ada.story?.cause).toContain("iban-42");
  expect((await as(actor).getSession({})).masked).toBe(false);
});

test("a file of a call is downloaded, and never shown; not where values are hidden", async () => {
  const [reader, actor] = [createApiToken(), createApiToken()];
  const tokens = apiTokens([
    { sha256: hashApiToken(reader), name: "rita", methods: readMethods },
    { sha256: hashApiToken(actor), name: "ada" },
  ]);
  const { url } = await start({
    login: { authenticate: tokens },
    mask: true,
    schema: async () => ({ services: [VideoService], registry: typesOf(VideoService) }),
  });
  const video = createVideoClient(await nats.connect());
  const content = "a document\n".repeat(1000);
  const film = blobOf(new TextEncoder().encode(content), {
    fileName: 'a "b".html',
    contentType: "text/html",
  });
  await video.convert.submit({ film }, { callId: "call" });
  const name = { service: VideoService.typeName, method: "Convert", owner: "_", callId: "call" };
  const as = (token: string) => clientOf(url, { authorization: `Bearer ${token}` });
  const [file] = (await as(actor).getCall({ name })).story?.files ?? [];
  expect(file).toMatchObject({
    ofResponse: false,
    fileName: 'a "b".html',
    size: BigInt(content.length),
  });
  const got = await send(`${url}${file?.path}`, { headers: { authorization: `Bearer ${actor}` } });
  expect(got.text).toBe(content);
  expect(got.headers["content-type"]).toBe("application/octet-stream");
  expect(got.headers["content-disposition"]).toBe(
    `attachment; filename="a _b_.html"; filename*=UTF-8''a%20%22b%22.html`,
  );
  const none = `${url}${file?.path?.replace(/0$/, "1")}`;
  expect((await send(none, { headers: { authorization: `Bearer ${actor}` } })).status).toBe(404);
  const [hidden] = (await as(reader).getCall({ name })).story?.files ?? [];
  expect(hidden).toMatchObject({ fileName: "***", path: "" });
  const read = { headers: { authorization: `Bearer ${reader}` } };
  expect((await send(`${url}${file?.path}`, read)).status).toBe(403);
});
