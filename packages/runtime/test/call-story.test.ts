import { toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import { type CallStory, createOperator, type Operator } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { describe, expect, onTestFinished, test } from "vitest";
import { RequestSchema, TestService } from "./gen/test/v1/test_pb.js";
import { collect, failureOf, gate, listedServices, until, useNats } from "./support.js";
import { Stops, WireTap } from "./wire-tap.js";

const nats = useNats();

async function operator(): Promise<Operator> {
  return createOperator(await nats.connect({ as: "operator" }), TestService);
}

async function whenFailed(self: Operator, callId: string): Promise<CallStory> {
  let story: CallStory | undefined;
  await until(async () => {
    story = await self.showCall({ method: "do", callId });
    return story.deadLetter !== undefined;
  });
  return story as CallStory;
}

describe("the story of a call", () => {
  test("has its attempts with worker and error, its messages and its end", async () => {
    await nats.worker({
      async *count({ count }, context) {
        for (let index = 0; index < count; index++) {
          context.progress({ done: index + 1, total: count, message: "on" });
          yield { text: `m${index}` };
          if (context.attempt === 1 && index === 1) {
            throw new ConnectError("a pause", Code.Unavailable);
          }
        }
      },
    });
    const client = await nats.client();
    const call = await client.count.submit(
      { text: "n", count: 5 },
      { callId: "c", headers: { "x-a": "b" } },
    );
    expect(await collect(call)).toHaveLength(5);
    const self = await operator();
    const story = await self.showCall({ method: "Count", callId: "c" });
    expect(story).toMatchObject({
      method: "Count",
      owner: "_",
      callId: "c",
      state: "succeeded",
      messages: 5,
      hasRequest: false,
      acceptedAt: expect.any(Date),
      endedAt: expect.any(Date),
      deadLetter: undefined,
    });
    expect(story.attempts).toMatchObject([
      { attempt: 1, error: { rawMessage: "a pause" }, retryAt: expect.any(Date) },
      { attempt: 2, startedAt: expect.any(Date) },
    ]);
    const [worker] = await listedServices(await nats.connect({ as: "observer" }), 1);
    expect(story.attempts.map((each) => each.worker)).toEqual([worker?.id, worker?.id]);
    expect(
      (await collect(story.responses())).map((each) => (each as { text?: string }).text),
    ).toEqual(["m0", "m1", "m2", "m3", "m4"]);
    const some = await collect(story.responses({ from: 3, limit: 1 }));
    expect(some).toMatchObject([{ text: "m3" }]);
    expect(await collect(story.responses({ from: 9 }))).toEqual([]);
    expect(await failureOf(story.request())).toMatchObject({ code: Code.NotFound });
    expect(await story.toJson()).toMatchObject({
      state: "succeeded",
      messages: 5,
      progress: { message: "on" },
      responses: [{ message: { text: "m0" } }, {}, {}, {}, {}],
    });
  });

  test("of one that has not ended has its request, and it can be canceled", async () => {
    const holds = gate();
    await nats.worker({
      do: async (_request, context) => {
        context.signal.addEventListener("abort", holds.open);
        await holds.opened;
        return {};
      },
    });
    const client = await nats.client({ owner: "acme" });
    const held = await client.do.submit({ text: "hold" }, { callId: "held", timeoutMs: 600_000 });
    const later = new Date(Date.now() + 3_600_000);
    await client.do.submit({ text: "wait" }, { callId: "later", notBefore: later });
    await client.urgent.submit({ text: "queue" }, { callId: "queued" });
    await until(async () => (await held.status()).state === "running");
    const self = await operator();
    const running = await self.showCall({ method: "do", callId: "held", owner: "acme" });
    expect(running).toMatchObject({ state: "running", hasRequest: true, endedAt: undefined });
    expect(Number(running.deadline)).toBeGreaterThan(Date.now());
    expect(await running.request()).toMatchObject({ text: "hold" });
    const scheduled = await self.showCall({ method: "do", callId: "later", owner: "acme" });
    expect(scheduled).toMatchObject({ state: "scheduled" });
    expect(Number(scheduled.startsAt)).toBe(Number(later));
    const queued = await self.showCall({ method: "urgent", callId: "queued", owner: "acme" });
    expect(queued).toMatchObject({ state: "queued", workers: 0 });
    for (const story of [running, scheduled, queued]) {
      expect(await story.cancel()).toBe(true);
      expect(await story.cancel()).toBe(false);
    }
    expect(await failureOf(held.result())).toMatchObject({ code: Code.Canceled });
    const unknown = self.showCall({ method: "do", callId: "nothing" });
    expect(await failureOf(unknown)).toMatchObject({ code: Code.NotFound });
  });

  test.each([
    ["scheduled", "end 0 cancelled", { notBefore: new Date(Date.now() + 3_600_000) }],
    ["queued", "Jetrpc-Withdrawn", {}],
  ] as const)(
    "of a %s one whose cancellation (%s) is stored, and not answered, tells that it was canceled by it",
    async (state, stored, options) => {
      const stops = new Stops();
      const tap = await WireTap.start(nats.server.port, stops);
      onTestFinished(() => tap.close());
      const client = await nats.client();
      const call = await client.do.submit({ text: "wait" }, { callId: "unheard", ...options });
      const connection = await nats.connect({ as: "operator", url: tap.url });
      const reference = { method: "do", callId: "unheard" };
      const story = await createOperator(connection, TestService).showCall(reference);
      expect(story.state).toBe(state);
      const taken = stops.add("unheard", "after", ({ headers }) => headers.includes(stored));
      const isCanceled = story.cancel();
      await taken;
      // Of a request that is withdrawn its worker writes the end.
      await nats.worker({ do: () => ({}) });
      expect(await failureOf(call.result())).toMatchObject({ code: Code.Canceled });
      tap.cut();
      stops.release();
      expect(await isCanceled).toBe(true);
      expect(await story.cancel()).toBe(false);
    },
  );

  test("of a failed one has the worker, the error and its details; its request is corrected and replayed", async () => {
    const seen: number[] = [];
    await nats.worker({
      do: ({ text, count }) => {
        seen.push(count);
        if (count < 10) {
          throw new ConnectError("count is too small", Code.InvalidArgument, { "x-least": "10" });
        }
        return { text };
      },
    });
    const client = await nats.client();
    const call = await client.do.submit({ text: "t", count: 1 }, { callId: "small" });
    await failureOf(call.result());
    const self = await operator();
    const story = await whenFailed(self, "small");
    expect(story).toMatchObject({ state: "failed", hasRequest: true });
    expect(story.error?.metadata.get("x-least")).toBe("10");
    const [worker] = await listedServices(await nats.connect({ as: "observer" }), 1);
    expect(story.attempts).toMatchObject([{ attempt: 1, worker: worker?.id }]);
    const letter = story.deadLetter;
    const json = { text: "t", count: "many", size: 3, other: { a: 1 } };
    const problems = (await letter?.check(json)) ?? [];
    expect(problems.map(({ path }) => path).sort()).toEqual(["count", "other", "size"]);
    expect(problems.find(({ path }) => path === "other")?.problem).toContain("has no such field");
    const refused = letter?.replay({ request: json }) as Promise<boolean>;
    expect(await failureOf(refused)).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("count: "),
    });
    const request = (await story.request()) as never;
    const mended = { ...(toJson(RequestSchema, request) as object), count: 12 };
    expect(await letter?.check(mended)).toEqual([]);
    expect(await letter?.replay({ request: mended })).toBe(true);
    const again = (await nats.client()).do.attach("small");
    expect((await again.result()).text).toBe("t");
    expect(seen).toEqual([1, 12]);
    expect(await letter?.replay()).toBe(false);
    // The call has the corrected request from now on.
    const other = client.do.submit({ text: "t", count: 1 }, { callId: "small" });
    expect(await failureOf(other)).toMatchObject({ code: Code.AlreadyExists });
    const same = await client.do.submit({ text: "t", count: 12 }, { callId: "small" });
    expect((await same.result()).text).toBe("t");
  });

  test("of one whose request is corrected to a large one is replayed whole", async () => {
    await nats.worker({
      do: ({ text, count }) => {
        if (count === 0) {
          throw new ConnectError("no", Code.InvalidArgument);
        }
        return { text: `${text.length}` };
      },
    });
    const client = await nats.client();
    await failureOf((await client.do.submit({ text: "s" }, { callId: "large" })).result());
    const self = await operator();
    const text = "x".repeat(3_000_000);
    const { deadLetter } = await whenFailed(self, "large");
    expect(await deadLetter?.replay({ request: { text, count: 1 } })).toBe(true);
    expect((await client.do.attach("large").result()).text).toBe("3000000");
  });
});

test("a replay leaves the text that the call's handler threw since", async () => {
  const worker = await nats.worker({
    do: () => {
      throw new Error("the first text");
    },
  });
  const call = await (await nats.client()).do.submit({ text: "t" }, { callId: "fast" });
  await failureOf(call.result());
  const self = createOperator(await nats.connect({ as: "operator" }), TestService);
  const letter = async () => (await self.showCall({ method: "do", callId: "fast" })).deadLetter;
  await until(async () => (await (await letter())?.cause()) !== undefined);
  const dead = await letter();
  await worker.drain();
  // As a worker does that fails before the replay is complete.
  const { prefix, deadStream } = bindService(TestService);
  const subject = `${prefix}.dead.Do.$cause._._.fast`;
  const root = await nats.connect({ as: "root" });
  await root.nats.request(subject, "the second text", { timeout: 60_000 });
  expect(await dead?.replay()).toBe(true);
  const last = await root.nats.request(`$JS.API.DIRECT.GET.${deadStream}.${subject}`, "", {
    timeout: 60_000,
  });
  expect(last.string()).toBe("the second text");
});
