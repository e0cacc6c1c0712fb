import {
  type CallStatus,
  Code,
  ConnectError,
  createClient,
  type DurableUnaryMethod,
  permanent,
  retryAfter,
  startWorker,
} from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { type RequestSchema, type ResponseSchema, ShortService } from "./gen/test/v1/test_pb.js";
import { collect, gate, submittedInTime, until, useNats } from "./support.js";

const nats = useNats();

async function queued(stream = "TEST"): Promise<number> {
  const connection = await nats.connect();
  const info = await connection.nats.request(`$JS.API.STREAM.INFO.${stream}`);
  return (info.json() as { state: { messages: number } }).state.messages;
}

/** Waits for a status. */
async function reaches(
  call: { status(): Promise<CallStatus> },
  state: CallStatus["state"],
): Promise<CallStatus> {
  let status = await call.status();
  await until(async () => {
    status = await call.status();
    return status.state === state;
  });
  return status;
}

describe("cancel()", () => {
  test("is no trouble that a worker warns of", async () => {
    const started = gate();
    const worker = await nats.worker({
      do: async (_request, context) => {
        started.open();
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        return {};
      },
    });
    const call = await (await nats.client()).do.submit({});
    await started.opened;
    await call.cancel();
    await until(async () => (await queued()) === 0);
    await worker.drain();
    expect(worker.logged.map(({ level, message }) => [level, message])).toEqual([
      ["info", "a call was canceled"],
    ]);
  });

  test("is no trouble either while the call stores messages", async () => {
    const worker = await nats.worker({
      async *count() {
        for (;;) {
          yield { text: "one more" };
          await new Promise(setImmediate);
        }
      },
    });
    const { count } = await nats.client();
    for (let calls = 0; calls < 10; calls++) {
      const call = await count.submit({});
      await call.messages()[Symbol.asyncIterator]().next();
      await call.cancel();
    }
    await until(async () => (await queued()) === 0);
    await worker.drain();
    expect(new Set(worker.logged.map(({ message }) => message))).toEqual(
      new Set(["a call was canceled"]),
    );
  });

  test("removes a queued call, which never runs", async () => {
    const client = await nats.client();
    const call = await client.do.submit({ text: "x" }, { callId: "queued" });
    expect(await call.cancel()).toBe(true);
    await expect(call.result()).rejects.toMatchObject({ code: Code.Canceled });
    expect((await call.status()).state).toBe("cancelled");
    let runs = 0;
    await nats.worker({ do: () => ({ index: ++runs }) });
    await client.do({});
    expect(runs).toBe(1);
    await until(async () => (await queued()) === 0);
  });

  test("empties the queue without a worker", async () => {
    const client = await nats.client();
    const call = await client.do.submit({});
    expect(await queued()).toBe(1);
    await call.cancel();
    await until(async () => (await queued()) === 0);
  });

  test("fires the signal of a running call, from any process, and frees its slot", async () => {
    const started = gate();
    let reason: unknown;
    await nats.worker(
      {
        do: async (request, context) => {
          if (request.text === "next") {
            return {};
          }
          started.open();
          await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
          reason = context.signal.reason;
          throw new Error("late");
        },
      },
      { concurrency: 1 },
    );
    const client = await nats.client();
    const call = await client.do.submit({}, { callId: "running" });
    const result = call.result();
    result.catch(() => undefined);
    await started.opened;
    expect(await (await nats.client()).do.attach("running").cancel()).toBe(true);
    await expect(result).rejects.toMatchObject({ code: Code.Canceled });
    await until(() => reason !== undefined);
    expect(reason).toMatchObject({ code: Code.Canceled, rawMessage: "the call was canceled" });
    await client.do({ text: "next" });
    expect((await call.status()).state).toBe("cancelled");
    await until(async () => (await queued()) === 0);
  });

  test("ends a stream after the messages that were stored", async () => {
    const client = await nats.client();
    await nats.worker({
      count: async function* (_request, context) {
        yield { index: 0 };
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        yield { index: 1 };
      },
    });
    const call = await client.count.submit({});
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { index } of call) {
        seen.push(index);
        await call.cancel();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: Code.Canceled });
    expect(seen).toEqual([0]);
  });

  test("ends a call that waits for its next attempt", async () => {
    let runs = 0;
    await nats.worker({
      do: () => {
        runs++;
        throw retryAfter(new ConnectError("busy", Code.Unavailable), 60_000);
      },
    });
    const call = await (await nats.client()).do.submit({});
    await reaches(call, "retrying");
    await call.cancel();
    await expect(call.result()).rejects.toMatchObject({ code: Code.Canceled });
    await until(async () => (await queued()) === 0);
    expect(runs).toBe(1);
  });

  test("is false for a call that has ended, and changes nothing", async () => {
    await nats.worker({ do: () => ({ text: "done" }) });
    const call = await (await nats.client()).do.submit({});
    await call.result();
    expect(await call.cancel()).toBe(false);
    expect((await call.result()).text).toBe("done");
  });

  test("of an unknown call is NotFound", async () => {
    await nats.worker({ do: () => ({}) });
    await expect((await nats.client()).do.attach("nobody").cancel()).rejects.toMatchObject({
      code: Code.NotFound,
    });
  });
});

describe("a call id", () => {
  test.each(["queued", "ended", "cancelled"])(
    "cannot be used for another request while the first is %s",
    async (state) => {
      const client = await nats.client();
      const call = await client.do.submit({ text: "one" }, { callId: "id" });
      if (state === "ended") {
        await nats.worker({ do: () => ({}) });
        await call.result();
      } else if (state === "cancelled") {
        await call.cancel();
      }
      const other = (await nats.client()).do.submit({ text: "two" }, { callId: "id" });
      await expect(other).rejects.toMatchObject({
        code: Code.AlreadyExists,
        rawMessage: expect.stringContaining('call "id" exists with another request'),
      });
      await client.do.submit({ text: "one" }, { callId: "id" });
      expect(await queued()).toBeLessThanOrEqual(1);
    },
  );

  test("races to one call", async () => {
    let runs = 0;
    await nats.worker({ do: (request) => ({ text: request.text, index: ++runs }) });
    const clients = await Promise.all(Array.from({ length: 8 }, () => nats.client()));
    const submitted = await Promise.allSettled(
      clients.map((client, i) => client.do.submit({ text: `${i % 2}` }, { callId: "race" })),
    );
    const winner = await (await nats.client()).do.attach("race").result();
    expect(runs).toBe(1);
    for (const [i, each] of submitted.entries()) {
      if (`${i % 2}` === winner.text) {
        expect(each.status).toBe("fulfilled");
      } else {
        expect(each).toMatchObject({ reason: { code: Code.AlreadyExists } });
      }
    }
  });
});

describe("status()", () => {
  test("tells what happened, without the results", async () => {
    const go = gate();
    await nats.worker({
      do: async (_request, context) => {
        context.progress({ done: context.attempt, total: 2 });
        if (context.attempt === 1) {
          throw new ConnectError("not yet", Code.Unavailable);
        }
        await go.opened;
        return {};
      },
    });
    const client = await nats.client();
    const call = await client.do.submit({}, { callId: "s" });
    const running = await reaches(call, "running");
    expect(running.attempts).toHaveLength(2);
    expect(running.attempts[0]).toMatchObject({
      attempt: 1,
      error: { code: Code.Unavailable, rawMessage: "not yet" },
    });
    go.open();
    await call.result();
    const status = await (await nats.client()).do.attach("s").status();
    expect(status).toMatchObject({ state: "succeeded", progress: { done: 2, total: 2 } });
    expect(status.acceptedAt?.getTime()).toBeLessThanOrEqual(status.endedAt?.getTime() ?? 0);
    expect(status.attempts.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  test("shows a first attempt that takes its time as running", async () => {
    const go = gate();
    const call = await (await nats.client()).do.submit({});
    expect((await call.status()).state).toBe("queued");
    await nats.worker({ do: () => go.opened.then(() => ({})) });
    const status = await reaches(call, "running");
    expect(status.attempts).toMatchObject([{ attempt: 1, startedAt: expect.any(Date) }]);
    go.open();
    await call.result();
    expect((await call.status()).state).toBe("succeeded");
  });

  test("counts the messages of a stream", async () => {
    await nats.worker({
      count: async function* () {
        yield* [{ index: 0 }, { index: 1 }];
        throw permanent(new ConnectError("enough", Code.OutOfRange));
      },
    });
    const call = await (await nats.client()).count.submit({});
    expect(await reaches(call, "failed")).toMatchObject({
      messages: 2,
      error: { code: Code.OutOfRange, rawMessage: "enough" },
    });
  });
});

describe("retries", () => {
  test("wait as long as the handler says", async () => {
    const at: number[] = [];
    await nats.worker({
      do: (_request, context) => {
        at.push(Date.now());
        if (context.attempt === 1) {
          throw retryAfter(new ConnectError("quota", Code.FailedPrecondition), 700);
        }
        return {};
      },
    });
    await (await nats.client()).do({});
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(690);
  });

  test("follow the codes of the schema", async () => {
    let runs = 0;
    await nats.worker({
      picky: (request) => {
        runs++;
        throw new ConnectError("no", request.count as Code);
      },
    });
    const client = await nats.client();
    await expect(client.picky({ count: Code.Unavailable })).rejects.toMatchObject({
      code: Code.Unavailable,
    });
    expect(runs).toBe(1);
    await expect(client.picky({ count: Code.Aborted })).rejects.toMatchObject({
      code: Code.Aborted,
    });
    expect(runs).toBe(4);
  });
});

describe("a deadline", () => {
  test("ends a queued call for whoever looks, with no worker anywhere", async () => {
    const client = await nats.client();
    // A first submission makes the streams, in its own time.
    await (await nats.worker({ do: () => ({}) })).drain();
    const { id } = await submittedInTime(() => client.do.submit({}, { timeoutMs: 1_000 }));
    const attached = (await nats.client()).do.attach(id);
    await expect(attached.result()).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    expect((await attached.status()).state).toBe("expired");
    let runs = 0;
    await nats.worker({ do: () => ({ index: ++runs }) });
    await client.do({});
    expect(runs).toBe(1);
  });

  test("ends a queued call that nobody waits for when its status is read", async () => {
    // A first submission makes the streams, in its own time.
    await (await nats.worker({ do: () => ({}) })).drain();
    const call = await (await nats.client()).do.submit({}, { timeoutMs: 3_000 });
    expect((await call.status()).state).toBe("queued");
    await until(async () => (await call.status()).state !== "queued");
    expect(await call.status()).toMatchObject({
      state: "expired",
      attempts: [],
      error: { code: Code.DeadlineExceeded },
    });
    await until(async () => (await queued()) === 0);
  });

  test("of a call that is waited for leaves nothing in the queue", async () => {
    await expect((await nats.client()).do({}, { timeoutMs: 200 })).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
    });
    await until(async () => (await queued()) === 0);
  });

  test("stops a running attempt for good, and is no failure", async () => {
    let runs = 0;
    await nats.worker({
      do: (_request, context) => {
        runs++;
        return new Promise((_, reject) =>
          context.signal.addEventListener("abort", () => reject(context.signal.reason)),
        );
      },
    });
    const call = await (await nats.client()).do.submit({}, { timeoutMs: 3_000 });
    await expect(call.result()).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    expect((await call.status()).state).toBe("expired");
    expect(runs).toBe(1);
    expect(await queued("TEST_DEAD")).toBe(0);
  });
});

describe("notBefore", () => {
  test("may be long ago, and is no year that the server cannot read", async () => {
    await nats.worker({ do: () => ({ text: "done" }) });
    const client = await nats.client();
    const call = await client.do.submit({}, { notBefore: new Date(Date.UTC(-1200, 0)) });
    expect(await call.result()).toMatchObject({ text: "done" });
    const notBefore = new Date(Date.UTC(10_000, 0));
    await expect(client.do.submit({}, { notBefore })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("notBefore"),
    });
  });

  test("starts a call at its time, not earlier", async () => {
    let startedAt = 0;
    await nats.worker({
      do: (request, context) => {
        startedAt = Date.now();
        return { text: `${request.text} ${context.attempt} ${context.requestHeader.get("x-a")}` };
      },
    });
    const client = await nats.client();
    let notBefore = new Date();
    // On a busy machine a time that is near may have come before the call's state is read.
    for (let ms = 1_200, state = ""; state !== "scheduled"; ms *= 2) {
      notBefore = new Date(Date.now() + ms);
      const options = { notBefore, headers: { "x-a": "b" } };
      const call = await client.do.submit({ text: "later" }, options);
      ({ state } = await call.status());
      expect((await call.result()).text).toBe("later 1 b");
    }
    expect(startedAt).toBeGreaterThanOrEqual(notBefore.getTime() - 5);
    await until(async () => (await queued("TEST_LATER")) === 0);
  });

  test("in the past is at once", async () => {
    await nats.worker({ do: () => ({ text: "now" }) });
    const call = await (await nats.client()).do.submit({}, { notBefore: new Date(0) });
    expect((await call.result()).text).toBe("now");
  });

  test("is kept by the server, whoever comes and goes, and once an id", async () => {
    const client = await nats.client();
    const notBefore = new Date(Date.now() + 5_000);
    for (let i = 0; i < 3; i++) {
      await client.do.submit({}, { notBefore, callId: "once" });
    }
    await expect(
      client.do.submit({ text: "other" }, { notBefore, callId: "once" }),
    ).rejects.toMatchObject({ code: Code.AlreadyExists });
    // Its time comes, and nobody is there.
    await new Promise((resolve) => setTimeout(resolve, notBefore.getTime() - Date.now() + 300));
    let runs = 0;
    await nats.worker({ do: () => ({ index: ++runs }) });
    expect((await client.do.attach("once").result()).index).toBe(1);
  });

  test("can be canceled before it comes", async () => {
    let runs = 0;
    await nats.worker({ do: () => ({ index: ++runs }) });
    const notBefore = new Date(Date.now() + 5_000);
    const call = await (await nats.client()).do.submit({}, { notBefore });
    expect(await call.cancel()).toBe(true);
    await expect(call.result()).rejects.toMatchObject({ code: Code.Canceled });
    // What replaced it goes at its time.
    await until(async () => (await queued("TEST_LATER")) === 0);
    expect([await queued(), runs]).toEqual([0, 0]);
  });

  test("that is no date is refused", async () => {
    const call = (await nats.client()).do.submit({}, { notBefore: new Date("x") });
    await expect(call).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

describe("load", () => {
  test("max_concurrency holds for all workers together", async () => {
    let running = 0;
    let most = 0;
    const impl = {
      global: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 5));
        running--;
        return {};
      },
    };
    await nats.worker(impl);
    await nats.worker(impl);
    const client = await nats.client();
    await Promise.all(Array.from({ length: 20 }, () => client.global({})));
    expect(most).toBe(1);
  });

  test("priorities: the high ones first, and none starves", async () => {
    const client = await nats.client();
    const order: string[] = [];
    for (const priority of ["low", "normal", "high"] as const) {
      for (let i = 0; i < 30; i++) {
        await client.urgent.submit({ text: priority }, { priority });
      }
    }
    await nats.worker({
      urgent: (request) => {
        order.push(request.text);
        return {};
      },
    });
    await until(() => order.length === 90);
    const first = order.slice(0, 30);
    const count = (text: string) => first.filter((each) => each === text).length;
    expect(count("high")).toBeGreaterThan(count("normal"));
    expect(count("normal")).toBeGreaterThan(count("low"));
    expect(count("low")).toBeGreaterThan(0);
    // A call that comes when all queues are empty is taken at once, whatever its priority.
    for (const priority of ["low", "normal", "high"] as const) {
      await (await client.urgent.submit({ text: "idle" }, { priority })).result();
    }
    expect(order).toHaveLength(93);
  });

  test("a priority needs the option", async () => {
    const call = (await nats.client()).do.submit({}, { priority: "high" });
    await expect(call).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("priorities: true"),
    });
  });

  type Short = { do: DurableUnaryMethod<typeof RequestSchema, typeof ResponseSchema> };

  test("max_queue_length refuses what is too much, and loses nothing", async () => {
    const connection = await nats.connect({ as: "client" });
    const short = createClient<Short>(ShortService, connection);
    const calls = [];
    for (let i = 0; i < 3; i++) {
      calls.push(await short.do.submit({ count: i }));
    }
    await expect(short.do.submit({})).rejects.toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage: expect.stringContaining("max_queue_length"),
    });
    const worker = await startWorker(
      ShortService,
      { do: (request) => ({ index: request.count }) },
      await nats.connect({ as: "worker" }),
    );
    const results = await Promise.all(calls.map((call) => call.result()));
    expect(results.map(({ index }) => index)).toEqual([0, 1, 2]);
    // An end is stored before its request leaves the queue.
    await until(async () => {
      try {
        await short.do({});
        return true;
      } catch (error) {
        expect(error).toMatchObject({ code: Code.ResourceExhausted });
        return false;
      }
    });
    await worker.drain();
  });

  test("max_queue_age refuses what would wait too long", async () => {
    // Whoever sees how old the oldest request is may read the queue: no client may.
    const connection = await nats.connect();
    const short = createClient<Short>(ShortService, connection);
    const first = await short.do.submit({});
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    await expect(short.do.submit({})).rejects.toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage: expect.stringContaining("max_queue_age"),
    });
    const worker = await startWorker(
      ShortService,
      { do: () => ({}) },
      await nats.connect({ as: "worker" }),
    );
    await first.result();
    await until(() =>
      short.do({}).then(
        () => true,
        () => false,
      ),
    );
    await worker.drain();
  });

  test("what is on its way to a worker that drains goes to another one", async () => {
    const client = await nats.client();
    const seen = new Set<number>();
    const attempts: number[] = [];
    const impl = {
      do: async (request: { count: number }, context: { attempt: number }) => {
        seen.add(request.count);
        attempts.push(context.attempt);
        return {};
      },
    };
    let worker = await nats.worker(impl, { concurrency: 4 });
    const results: Promise<unknown>[] = [];
    for (let i = 0; i < 200; i++) {
      results.push(client.do({ count: i }));
      if (i % 20 === 19) {
        const next = await nats.worker(impl, { concurrency: 4 });
        void worker.drain();
        worker = next;
      }
    }
    await Promise.all(results);
    expect(seen.size).toBe(200);
  });
});

describe("submitAll()", () => {
  test("submits thousands, with an answer for each, in order", async () => {
    await nats.worker({ do: (request) => ({ index: request.count }) }, { concurrency: 100 });
    const client = await nats.client();
    let read = 0;
    function* requests() {
      for (let count = 0; count < 3_000; count++) {
        read++;
        yield { count };
      }
    }
    let i = 0;
    for await (const { call, error } of client.do.submitAll(requests())) {
      expect(error).toBeUndefined();
      expect(read - i).toBeLessThanOrEqual(257);
      if (i++ % 500 === 0) {
        expect((await call?.result())?.index).toBe(i - 1);
      }
    }
    expect(i).toBe(3_000);
  });

  test("tells which ones were refused", async () => {
    const client = await nats.client();
    const answers = await collect(
      client.do.submitAll([{ text: "a" }, { text: "b" }, { text: "a" }], (_request, index) => ({
        callId: index === 1 ? "no spaces" : "same",
      })),
    );
    expect(answers.map(({ error }) => error?.code)).toEqual([
      undefined,
      Code.InvalidArgument,
      undefined,
    ]);
    expect(answers[0]?.call?.id).toBe("same");
  });
});
