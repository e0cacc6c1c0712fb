import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, mayHaveRun, permanent } from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { collect, gate, lateOnceBegun, submittedInTime, until, useNats } from "./support.js";

const nats = useNats();

async function* numbers(count: number) {
  for (let index = 0; index < count; index++) {
    yield { index };
  }
}

function indexes(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

describe("a durable unary call", () => {
  test("is run once and answers", async () => {
    let runs = 0;
    await nats.worker({
      do: (request, context) => {
        runs++;
        return { text: `${request.text} ${context.attempt}` };
      },
    });
    const client = await nats.client();
    expect((await client.do({ text: "attempt" })).text).toBe("attempt 1");
    expect(runs).toBe(1);
  });

  test("may be submitted before any worker was ever there", async () => {
    const client = await nats.client();
    const call = await client.do.submit({ text: "early" });
    await nats.worker({ do: (request) => ({ text: request.text }) });
    expect((await call.result()).text).toBe("early");
  });

  test("keeps its result for whoever attaches later, as often as they like", async () => {
    const worker = await nats.worker({ do: () => ({ text: "kept" }) });
    await (await (await nats.client()).do.submit({}, { callId: "invoice-42" })).result();
    await worker.drain();
    const later = await nats.client();
    for (let i = 0; i < 2; i++) {
      expect((await later.do.attach("invoice-42").result()).text).toBe("kept");
    }
  });

  test("is one call, whoever submits its id and however often", async () => {
    let runs = 0;
    await nats.worker({
      do: () => {
        runs++;
        return { text: String(runs) };
      },
    });
    const [one, two] = [await nats.client(), await nats.client()];
    for (const client of [one, two, one]) {
      const call = await client.do.submit({}, { callId: "same" });
      expect((await call.result()).text).toBe("1");
    }
    expect(runs).toBe(1);
  });

  test("is known by its log when JetStream has forgotten its message id", async () => {
    let runs = 0;
    await nats.worker({
      do: () => {
        runs++;
        return { text: "first" };
      },
    });
    const client = await nats.client();
    await (await client.do.submit({}, { callId: "again" })).result();
    // The same request under another message id, as after the duplicate window.
    const connection = await nats.connect();
    const { headers } = await import("@nats-io/transport-node");
    const replay = headers();
    replay.set("Jetrpc-Replay", "1");
    await connection.nats.request("test.v1.TestService.queue.Do._._.again", new Uint8Array(0), {
      headers: replay,
      timeout: 60_000,
    });
    await until(async () => {
      const info = await connection.nats.request("$JS.API.STREAM.INFO.TEST");
      return (info.json() as { state: { messages: number } }).state.messages === 0;
    });
    expect(runs).toBe(1);
    expect((await client.do.attach("again").result()).text).toBe("first");
  });

  test("keeps the same id of two methods and of two owners apart", async () => {
    await nats.worker({
      do: () => ({ text: "do" }),
      limited: () => ({ text: "limited" }),
    });
    const client = await nats.client();
    const stranger = await nats.client({ owner: "stranger" });
    const calls = [
      await client.do.submit({}, { callId: "x" }),
      await client.limited.submit({}, { callId: "x" }),
      await stranger.do.submit({}, { callId: "x" }),
    ];
    expect((await Promise.all(calls.map((c) => c.result()))).map((r) => r.text)).toEqual([
      "do",
      "limited",
      "do",
    ]);
    await (await client.do.submit({}, { callId: "mine" })).result();
    await expect(stranger.do.attach("mine").result()).rejects.toMatchObject({
      code: Code.NotFound,
    });
  });

  test("is NotFound when it never was", async () => {
    await nats.worker({ do: () => ({}), count: () => numbers(1) });
    const client = await nats.client();
    const expected = { code: Code.NotFound, rawMessage: expect.stringContaining("nowhere") };
    await expect(client.do.attach("nowhere").result()).rejects.toMatchObject(expected);
    await expect(collect(client.count.attach("nowhere"))).rejects.toMatchObject(expected);
    await expect(collect(client.count.attach("nowhere").progress())).rejects.toMatchObject(
      expected,
    );
  });

  test("a call whose signal has fired before is not submitted", async () => {
    let runs = 0;
    await nats.worker({
      do: () => ({ index: ++runs }),
      async *count() {
        yield { index: ++runs };
      },
    });
    const client = await nats.client();
    const signal = AbortSignal.abort();
    const unary = await client.do({}, { signal }).catch((error) => error);
    expect(unary).toMatchObject({ code: Code.Canceled });
    expect(mayHaveRun(unary)).toBe(false);
    const stream = client.count({}, { signal })[Symbol.asyncIterator]().next();
    await expect(stream).rejects.toMatchObject({ code: Code.Canceled });
    expect((await client.do({})).index).toBe(1);
    // The caller's own reason may be used for another call, which ran.
    const reason = new ConnectError("the user left", Code.Canceled);
    for (const call of [client.do, client.get]) {
      const error = await call({}, { signal: AbortSignal.abort(reason) }).catch((each) => each);
      expect(error).toMatchObject({ code: Code.Canceled, rawMessage: "the user left" });
      expect(mayHaveRun(error)).toBe(false);
    }
    expect(mayHaveRun(reason)).toBe(true);
  });

  test("a submission that is aborted while the server is away stores nothing", async () => {
    await using server = await nats.start();
    const { url } = server;
    const client = await nats.client({ url });
    await (await client.do.submit({})).cancel();
    const seen: string[] = [];
    await server.kill();
    const controller = new AbortController();
    const aborted = client.do.submit({ text: "aborted" }, { signal: controller.signal });
    aborted.catch(() => undefined);
    const other = client.do.submit({ text: "other" });
    controller.abort();
    await server.restart();
    await expect(aborted).rejects.toMatchObject({ code: Code.Canceled });
    const call = await other;
    await nats.worker(
      {
        do: ({ text }) => {
          seen.push(text);
          return {};
        },
      },
      { url },
    );
    await call.result();
    expect(seen).toEqual(["other"]);
  });

  test("attach() refuses what is no call id", async () => {
    const client = await nats.client();
    expect(() => client.do.attach(undefined as never)).toThrow(/call id of type undefined must be/);
    expect(() => client.do.attach("a b")).toThrow(/call id "a b" must be/);
  });

  test.each([
    ["", "-$"],
    ["with space", ', without " "$'],
    ["a.b", ', without "\\."$'],
    ["*", ', without "\\*"$'],
    [">", ', without ">"$'],
    ["x".repeat(129), "-$"],
    ["ü", ', without "ü"$'],
  ])("refuses the call id %j, and names the character that is wrong", async (callId, text) => {
    const client = await nats.client();
    await expect(client.do.submit({}, { callId })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringMatching(text),
    });
  });

  test("carries large requests and responses, and removes the request when it has ended", async () => {
    await nats.worker({ do: (request) => ({ data: request.data.reverse() }) });
    const client = await nats.client();
    const data = new Uint8Array(3 * 1024 * 1024 + 7).map((_, i) => i * 31);
    const response = await client.do({ data });
    expect(Buffer.compare(response.data, data.slice().reverse())).toBe(0);
    const connection = await nats.connect();
    await until(async () => {
      const info = await connection.nats.request("$JS.API.STREAM.INFO.OBJ_TEST_PAYLOAD");
      const { bytes } = (info.json() as { state: { bytes: number } }).state;
      return bytes < 2 * data.length;
    });
  });

  test("carries metadata to the handler and back", async () => {
    await nats.worker({
      do: (_request, context) => {
        context.responseHeader.set("x-leading", `${context.requestHeader.get("x-asked")}!`);
        context.responseTrailer.set("x-trailing", "end");
        return {};
      },
    });
    const client = await nats.client();
    const seen: (string | null)[] = [];
    await client.do(
      {},
      {
        headers: { "x-asked": "yes" },
        onHeader: (header) => seen.push(header.get("x-leading")),
        onTrailer: (trailer) => seen.push(trailer.get("x-trailing")),
      },
    );
    expect(seen).toEqual(["yes!", "end"]);
  });
});

describe("a durable streaming call", () => {
  test.each([0, 1, 23, 24, 1_000, 5_000])(
    "brings %i messages, each once and in order",
    async (count) => {
      await nats.worker({ count: (request) => numbers(request.count) });
      const client = await nats.client();
      const messages = await collect(client.count({ count }));
      expect(messages.map((m) => m.index)).toEqual(indexes(count));
    },
  );

  test("is followed by any number of clients, from the first message", async () => {
    const half = gate();
    await nats.worker({
      async *count() {
        yield* numbers(10);
        await half.opened;
        yield { index: 10 };
      },
    });
    const client = await nats.client();
    const call = await client.count.submit({}, { callId: "shared" });
    const followers = [collect(call), collect(call)];
    const other = (await nats.client()).count.attach("shared");
    const late: number[] = [];
    for await (const message of other) {
      late.push(message.index);
      if (late.length === 10) {
        half.open();
      }
    }
    expect(late).toEqual(indexes(11));
    for (const follower of followers) {
      expect((await follower).map((m) => m.index)).toEqual(indexes(11));
    }
  });

  test("goes on at the message that a follower wants", async () => {
    const more = gate();
    await nats.worker({
      count: async function* ({ count }) {
        for (let index = 0; index < count; index++) {
          if (index === count / 2) {
            await more.opened;
          }
          yield { index };
        }
      },
    });
    const client = await nats.client();
    const call = await client.count.submit({ count: 100 }, { callId: "from" });
    const indexes = async (from: number) =>
      (await collect(call.messages({ from }))).map(({ index }) => index);
    const live = indexes(70);
    more.open();
    expect(await live).toEqual(Array.from({ length: 30 }, (_, i) => 70 + i));
    expect(await indexes(98)).toEqual([98, 99]);
    expect(await indexes(100)).toEqual([]);
    expect(await indexes(0)).toHaveLength(100);
    expect(() => call.messages({ from: -1 })).toThrow("must be 0 or a greater whole number");
  });

  test("brings messages above max_payload in their order", async () => {
    await nats.worker({
      async *count() {
        for (let index = 0; index < 4; index++) {
          yield { index, data: new Uint8Array(index % 2 ? 10 : 2_000_000).fill(index) };
        }
      },
    });
    const client = await nats.client();
    const messages = await collect(client.count({}));
    expect(messages.map((m) => [m.index, m.data.length, m.data[0]])).toEqual([
      [0, 2_000_000, 0],
      [1, 10, 1],
      [2, 2_000_000, 2],
      [3, 10, 3],
    ]);
  });

  test("ends with the handler's error after the messages before it", async () => {
    await nats.worker({
      async *count() {
        yield* numbers(3);
        throw new ConnectError("no more", Code.OutOfRange);
      },
    });
    const client = await nats.client();
    const seen: number[] = [];
    const read = async () => {
      for await (const message of client.count({})) {
        seen.push(message.index);
      }
    };
    await expect(read()).rejects.toMatchObject({ code: Code.OutOfRange, rawMessage: "no more" });
    expect(seen).toEqual([0, 1, 2]);
  });

  test("shows its progress, the last report always", async () => {
    await nats.worker({
      async *count(_request, context) {
        for (let done = 1; done <= 100; done++) {
          context.progress({ done, total: 100, message: `page ${done}` });
        }
        yield {};
      },
    });
    const client = await nats.client();
    const call = await client.count.submit({}, { callId: "shown" });
    const during = await collect(call.progress());
    expect(during.at(-1)).toMatchObject({ done: 100, total: 100, message: "page 100" });
    const after = await collect(client.count.attach("shown").progress());
    expect(after.map((p) => p.done)).toEqual([100]);
  });

  test("lets go of the call when the caller leaves its loop, and the call goes on", async () => {
    const left = gate();
    const finished = gate();
    await nats.worker({
      async *count() {
        yield { index: 0 };
        await left.opened;
        yield { index: 1 };
        finished.open();
      },
    });
    const client = await nats.client();
    for await (const message of client.count({})) {
      expect(message.index).toBe(0);
      break;
    }
    left.open();
    await finished.opened;
  });

  test("can wait for a slow reader: the log is its buffer", async () => {
    const count = 40;
    await nats.worker({
      async *count() {
        for (let index = 0; index < count; index++) {
          yield { index, data: new Uint8Array(512 * 1024) };
        }
      },
    });
    const client = await nats.client();
    const call = await client.count.submit({}, { callId: "slow" });
    const seen: number[] = [];
    for await (const message of call) {
      if (seen.length === 0) {
        // 20 MB arrive while nobody reads: more than a follower keeps.
        await collect(client.count.attach("slow").progress());
      }
      seen.push(message.index);
    }
    expect(seen).toEqual(indexes(count));
  });
});

describe("an attempt that fails", () => {
  test.each([
    Code.Unavailable,
    Code.ResourceExhausted,
    Code.Aborted,
    Code.DeadlineExceeded,
    Code.Internal,
    Code.Unknown,
  ])("with code %i is repeated", async (code) => {
    await nats.worker({
      do: (_request, { attempt }) => {
        if (attempt < 3) {
          throw new ConnectError("not yet", code);
        }
        return { text: `attempt ${attempt}` };
      },
    });
    const client = await nats.client();
    expect((await client.do({})).text).toBe("attempt 3");
  });

  test.each([Code.InvalidArgument, Code.NotFound, Code.PermissionDenied, Code.FailedPrecondition])(
    "with code %i ends the call at once, details and all",
    async (code) => {
      let runs = 0;
      await nats.worker({
        do: () => {
          runs++;
          throw new ConnectError("bad input", code, undefined, [
            { desc: DurationSchema, value: { seconds: 3n } },
          ]);
        },
      });
      const client = await nats.client();
      const error = await client.do({}).catch((e) => e);
      expect(error).toMatchObject({ code, rawMessage: "bad input" });
      expect(error.findDetails(DurationSchema)).toHaveLength(1);
      expect(runs).toBe(1);
    },
  );

  test("for good ends the call at once, whatever its code", async () => {
    let runs = 0;
    await nats.worker({
      do: () => {
        runs++;
        throw permanent(new ConnectError("too many pixels", Code.ResourceExhausted));
      },
    });
    const client = await nats.client();
    await expect(client.do({})).rejects.toMatchObject({ code: Code.ResourceExhausted });
    expect(runs).toBe(1);
  });

  test("again and again ends the call with its last error", async () => {
    const attempts: number[] = [];
    await nats.worker({
      do: (_request, { attempt }) => {
        attempts.push(attempt);
        throw new ConnectError(`failed ${attempt}`, Code.Unavailable);
      },
    });
    const client = await nats.client();
    await expect(client.do({})).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: "failed 3",
    });
    expect(attempts).toEqual([1, 2, 3]);
  });

  test("by a plain Error is repeated, and does not leak its text", async () => {
    await nats.worker({
      do: () => {
        throw new Error("secret");
      },
    });
    const client = await nats.client();
    const error = await client.do({}).catch((e) => e);
    expect(error.code).toBe(Code.Internal);
    expect(error.message).not.toContain("secret");
  });

  test("by taking too long sees its signal fire", async () => {
    const reasons: unknown[] = [];
    await nats.worker({
      limited: (_request, context) => {
        context.signal.addEventListener("abort", () => reasons.push(context.signal.reason));
        return new Promise(() => undefined);
      },
    });
    const client = await nats.client();
    await expect(client.limited({})).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    expect(reasons).toHaveLength(2);
    expect(reasons[0]).toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("after some messages replays, and sends none of them twice", async () => {
    const resumeFrom: number[] = [];
    await nats.worker({
      async *count(_request, context) {
        resumeFrom.push(context.resumeFrom);
        yield* numbers(5 * context.attempt);
        if (context.attempt < 3) {
          throw new ConnectError("again", Code.Unavailable);
        }
      },
      async *resume(_request, context) {
        for (let index = context.resumeFrom; index < 5 * context.attempt; index++) {
          yield { index };
        }
        if (context.attempt < 3) {
          throw new ConnectError("again", Code.Unavailable);
        }
      },
    });
    const client = await nats.client();
    for (const method of [client.count, client.resume]) {
      const messages = await collect(method({}));
      expect(messages.map((m) => m.index)).toEqual(indexes(15));
    }
    expect(resumeFrom).toEqual([0, 5, 10]);
  });
});

test("a handler that blocks the event loop within the documented limit runs once", async () => {
  let runs = 0;
  await nats.worker({
    picky: () => {
      runs++;
      // Two thirds of its ack_wait, which is 15 s, less what a busy machine takes. Nothing else
      // runs meanwhile, no heartbeat either.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 8_000);
      return { index: runs };
    },
  });
  const client = await nats.client();
  const calls = await Promise.all([client.picky({}), client.picky({})]);
  expect(calls.map(({ index }) => index)).toEqual([1, 2]);
  expect(runs).toBe(2);
});

describe("a call's own time", () => {
  test("ends the wait and the attempt", async () => {
    let begun = 0;
    const aborted = gate();
    await nats.worker({
      do: (_request, context) => {
        begun++;
        context.signal.addEventListener("abort", aborted.open);
        return new Promise(() => undefined);
      },
    });
    const client = await nats.client();
    await lateOnceBegun(
      () => begun,
      () => client.do({}, { timeoutMs: 500 }),
    );
    await aborted.opened;
  });

  test("that is over before a worker comes means that it never starts", async () => {
    const client = await nats.client();
    // A first submission makes the streams, in its own time.
    await (await nats.worker({ do: () => ({}) })).drain();
    const call = await submittedInTime(() => client.do.submit({}, { timeoutMs: 1_000 }));
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    let runs = 0;
    await nats.worker({
      do: () => {
        runs++;
        return {};
      },
    });
    await expect(call.result()).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    expect(runs).toBe(0);
  });

  test("is the client's to give up: the call goes on", async () => {
    const go = gate();
    await nats.worker({
      do: async () => {
        await go.opened;
        return { text: "done" };
      },
    });
    const client = await nats.client();
    const call = await client.do.submit({});
    await expect(call.result({ timeoutMs: 50 })).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
    });
    const controller = new AbortController();
    const wait = call.result({ signal: controller.signal });
    controller.abort();
    await expect(wait).rejects.toMatchObject({ code: Code.Canceled });
    go.open();
    expect((await call.result()).text).toBe("done");
  });
});

describe("a queued message that is no request of ours", () => {
  test("without a call id is removed and blocks nobody", async () => {
    const worker = await nats.worker({ do: (request) => ({ text: request.text }) });
    const connection = await nats.connect();
    await connection.nats.request("test.v1.TestService.queue.Do.odd", "?");
    await until(() => worker.logged.some((r) => r.message.includes("without call id")));
    const client = await nats.client();
    expect((await client.do({ text: "on" })).text).toBe("on");
  });

  test("but is one in JSON, made by hand, runs like any other", async () => {
    await nats.worker({ do: (request) => ({ text: `did ${request.text}` }) });
    const connection = await nats.connect();
    const { headers } = await import("@nats-io/transport-node");
    const header = headers();
    header.set("Content-Type", "application/json");
    const subject = "test.v1.TestService.queue.Do._._.by-hand";
    await connection.nats.request(subject, '{"text":"it"}', { headers: header, timeout: 60_000 });
    const client = await nats.client();
    expect((await client.do.attach("by-hand").result()).text).toBe("did it");
  });

  test("whose payload cannot be parsed ends its call with InvalidArgument", async () => {
    await nats.worker({ do: (request) => ({ text: request.text }) });
    const connection = await nats.connect();
    await connection.nats.request(
      "test.v1.TestService.queue.Do._._.bad",
      new Uint8Array([255, 255, 255, 1]),
    );
    const client = await nats.client();
    await expect(client.do.attach("bad").result()).rejects.toMatchObject({
      code: Code.InvalidArgument,
    });
  });
});

describe("a worker that is drained", () => {
  test("finishes what runs and leaves the rest to others", async () => {
    const started = gate();
    const finish = gate();
    const first = await nats.worker(
      {
        do: async () => {
          started.open();
          await finish.opened;
          return { text: "first" };
        },
      },
      { concurrency: 1, drainTimeoutMs: 60_000 },
    );
    const client = await nats.client();
    const running = client.do({});
    await started.opened;
    const queued = client.do({});
    const drained = first.drain();
    await nats.worker({ do: (_r, { attempt }) => ({ text: `second ${attempt}` }) });
    expect((await queued).text).toBe("second 1");
    finish.open();
    expect((await running).text).toBe("first");
    await drained;
  });

  test("has acknowledged what it has ended", async () => {
    const { nats: watcher } = await nats.connect();
    let acknowledged = 0;
    watcher.subscribe("$JS.ACK.TEST.>", {
      callback: () => {
        acknowledged++;
      },
    });
    await watcher.flush();
    const worker = await nats.worker({ do: () => ({}) });
    const client = await nats.client();
    await Promise.all(indexes(10).map(() => client.do({})));
    await worker.drain();
    await watcher.flush();
    expect(acknowledged).toBe(10);
  });

  test("gives back what takes too long, which costs no attempt", async () => {
    const started = gate();
    const first = await nats.worker(
      {
        do: (_request, context) => {
          started.open();
          return new Promise((_resolve, reject) => {
            context.signal.addEventListener("abort", () => reject(context.signal.reason));
          });
        },
      },
      { drainTimeoutMs: 50 },
    );
    const client = await nats.client();
    const call = client.do({});
    await started.opened;
    await first.drain();
    let attempts = 0;
    await nats.worker({
      do: () => {
        attempts++;
        if (attempts < 3) {
          throw new ConnectError("again", Code.Unavailable);
        }
        return { text: "third" };
      },
    });
    expect((await call).text).toBe("third");
  });
});
