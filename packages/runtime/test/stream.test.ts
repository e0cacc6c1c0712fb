import { Code, ConnectError } from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { useProcesses } from "./process.js";
import { collect, gate, lateOnceBegun, patientDrain, until, useNats } from "./support.js";

const nats = useNats();
const start = useProcesses();

async function* numbers(count: number, data = new Uint8Array(0)) {
  for (let index = 0; index < count; index++) {
    yield { index, count: index, data };
  }
}

const indexes = (count: number) => Array.from({ length: count }, (_, index) => index);

describe("messages", () => {
  test.each([0, 1, 2, 1000])("%i of them arrive, in order, from the worker", async (count) => {
    await nats.worker({ down: (request) => numbers(request.count) });
    const client = await nats.client();
    const responses = await collect(client.down({ count }));
    expect(responses.map((response) => response.index)).toEqual(indexes(count));
  });

  test.each([0, 1, 2, 1000])("%i of them arrive, in order, from the caller", async (count) => {
    await nats.worker({
      up: async (requests) => ({
        text: (await collect(requests)).map((request) => request.count).join(),
      }),
    });
    const client = await nats.client();
    expect((await client.up(numbers(count))).text).toBe(indexes(count).join());
  });

  test("go both ways at once", async () => {
    await nats.worker({
      async *chat(requests) {
        for await (const { count } of requests) {
          yield { index: count };
        }
        yield { index: -1 };
      },
    });
    const client = await nats.client();
    const responses = await collect(client.chat(numbers(5000)));
    expect(responses.map((response) => response.index)).toEqual([...indexes(5000), -1]);
  });

  test("above max_payload, and far above the window, arrive as sent", async () => {
    const sizes = [0, 1, 65_530, 65_531, 65_532, 65_533, 65_536, 1_048_576, 5_000_001];
    const data = sizes.map((size) => new Uint8Array(size).map((_, i) => i * 31 + size));
    await nats.worker({
      async *chat(requests) {
        for await (const request of requests) {
          yield { data: request.data };
        }
      },
    });
    const client = await nats.client();
    const requests = (async function* () {
      for (const each of data) {
        yield { data: each };
      }
    })();
    const responses = await collect(client.chat(requests));
    expect(responses.map((response) => response.data.length)).toEqual(sizes);
    for (const [i, response] of responses.entries()) {
      expect(Buffer.compare(response.data, data[i] as Uint8Array)).toBe(0);
    }
  });

  test("a request above max_payload is streamed to", async () => {
    await nats.worker({
      async *down(request) {
        yield { index: request.data.length };
      },
    });
    const client = await nats.client();
    const responses = await collect(client.down({ data: new Uint8Array(2_000_000) }));
    expect(responses[0]?.index).toBe(2_000_000);
  });

  test("reach the other side while the sender goes on to work", async () => {
    const seen = gate();
    await nats.worker({
      async *down() {
        yield { index: 1 };
        yield { index: 2 };
        await seen.opened;
        yield { index: 3 };
      },
    });
    const client = await nats.client();
    const got: number[] = [];
    for await (const { index } of client.down({})) {
      got.push(index);
      if (index === 2) {
        seen.open();
      }
    }
    expect(got).toEqual([1, 2, 3]);
  });
});

describe("flow control", () => {
  test("a worker does not run ahead of a caller that reads slowly", async () => {
    let made = 0;
    await nats.worker({
      async *down(request) {
        for (; made < request.count; made++) {
          yield { index: made, data: new Uint8Array(10_000) };
        }
      },
    });
    const client = await nats.client();
    const responses = client.down({ count: 2000 })[Symbol.asyncIterator]();
    await responses.next();
    let before = -1;
    while (before !== made) {
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    // The first credit, a frame that waits, and one that is being filled.
    expect(made).toBeLessThan(30);
    let count = 1;
    while (!(await responses.next()).done) {
      count++;
    }
    expect(count).toBe(2000);
  });

  test("a caller does not run ahead of a worker that reads slowly", async () => {
    const read = gate();
    await nats.worker({
      async up(requests) {
        await read.opened;
        return { index: (await collect(requests)).length };
      },
    });
    const client = await nats.client();
    let made = 0;
    const response = client.up(
      (async function* () {
        for (; made < 2000; made++) {
          yield { data: new Uint8Array(10_000) };
        }
      })(),
    );
    await until(() => made > 3);
    let before = -1;
    while (before !== made) {
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(made).toBeLessThan(30);
    read.open();
    expect((await response).index).toBe(2000);
  });

  test("many tiny messages one by one are held back as well", async () => {
    let made = 0;
    await nats.worker({
      async *down() {
        for (; made < 100_000; made++) {
          yield { index: made };
          await new Promise((resolve) => setImmediate(resolve));
        }
      },
    });
    const client = await nats.client();
    const responses = client.down({})[Symbol.asyncIterator]();
    await responses.next();
    let before = -1;
    while (before !== made) {
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    // As many as a frame holds may wait.
    expect(made).toBeLessThan(20_000);
    await responses.return?.();
  });

  test.each([10, 1_000_000])(
    "a stream of messages of %i B costs no memory while its reader sleeps",
    async (size) => {
      const count = size === 10 ? 300_000 : 100;
      await nats.worker({
        async *down() {
          for (let index = 0; index < count; index++) {
            yield { index, data: new Uint8Array(size === 10 ? 0 : size) };
          }
        },
      });
      const client = await nats.client();
      const responses = client.down({})[Symbol.asyncIterator]();
      await responses.next();
      const before = process.memoryUsage().rss;
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      // Both sides are in this process.
      expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024);
      for (let index = 1; index < count; index++) {
        const { value } = await responses.next();
        if (value?.index !== index) {
          expect(value?.index).toBe(index);
        }
      }
      expect((await responses.next()).done).toBe(true);
    },
  );
});

describe("the end", () => {
  test("metadata leads and trails", async () => {
    await nats.worker({
      async *down(_request, context) {
        context.responseHeader.set("x-leading", context.requestHeader.get("x-asked") ?? "");
        yield {};
        context.responseTrailer.set("x-trailing", "end");
      },
    });
    const client = await nats.client();
    const seen: (string | null)[] = [];
    await collect(
      client.down(
        {},
        {
          headers: { "x-asked": "yes" },
          onHeader: (header) => seen.push(header.get("x-leading"), header.get("x-trailing")),
          onTrailer: (trailer) => seen.push(trailer.get("x-leading"), trailer.get("x-trailing")),
        },
      ),
    );
    expect(seen).toEqual(["yes", null, null, "end"]);
  });

  test("an error comes after the messages before it, with details and trailers", async () => {
    await nats.worker({
      async *down(_request, context) {
        yield* numbers(3);
        context.responseTrailer.set("x-trailing", "end");
        throw new ConnectError("enough", Code.Aborted, { "x-hint": "stop" });
      },
    });
    const client = await nats.client();
    const got: number[] = [];
    const error = await (async () => {
      for await (const { index } of client.down({})) {
        got.push(index);
      }
    })().catch((e) => e);
    expect(got).toEqual([0, 1, 2]);
    expect(error).toMatchObject({ code: Code.Aborted, rawMessage: "enough" });
    expect(error.metadata.get("x-hint")).toBe("stop");
    expect(error.metadata.get("x-trailing")).toBe("end");
  });

  test("a plain error is hidden, or revealed when asked", async () => {
    const impl = {
      // biome-ignore lint/correctness/useYield: it never comes to that
      async *down() {
        throw new Error("secret");
      },
    };
    const worker = await nats.worker(impl);
    const client = await nats.client();
    const hidden = await collect(client.down({})).catch((e) => e);
    expect(hidden).toMatchObject({ code: Code.Internal, rawMessage: "internal error" });
    await worker.drain();
    await nats.worker(impl, { revealErrors: true });
    const shown = await collect(client.down({})).catch((e) => e);
    expect(shown).toMatchObject({ code: Code.Internal, rawMessage: "secret" });
  });

  test("a caller that leaves its loop ends the handler", async () => {
    const left = gate();
    const cleaned = gate();
    await nats.worker({
      async *down(_request, context) {
        context.signal.addEventListener("abort", left.open);
        try {
          for (let index = 0; ; index++) {
            yield { index };
            await new Promise((resolve) => setTimeout(resolve, 1));
          }
        } finally {
          cleaned.open();
        }
      },
    });
    const client = await nats.client();
    for await (const { index } of client.down({})) {
      if (index === 3) {
        break;
      }
    }
    await left.opened;
    await cleaned.opened;
  });

  test("a handler that returns early ends the caller's requests", async () => {
    await nats.worker({
      async *chat(requests) {
        for await (const { count } of requests) {
          yield { index: count };
          if (count === 2) {
            return;
          }
        }
      },
      async up() {
        return { text: "enough" };
      },
    });
    const client = await nats.client();
    const cleaned = gate();
    const cleanedToo = gate();
    const endless = async function* (done: () => void) {
      try {
        for (let count = 0; ; count++) {
          yield { count };
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      } finally {
        done();
      }
    };
    expect((await collect(client.chat(endless(cleaned.open)))).length).toBe(3);
    await cleaned.opened;
    expect((await client.up(endless(cleanedToo.open))).text).toBe("enough");
    await cleanedToo.opened;
  });

  test("requests that fail end the call, and the handler", async () => {
    const left = gate();
    await nats.worker({
      async up(requests, context) {
        context.signal.addEventListener("abort", left.open);
        await collect(requests);
        return {};
      },
    });
    const client = await nats.client();
    const broken = (async function* () {
      yield { count: 1 };
      throw new Error("no more");
    })();
    await expect(client.up(broken)).rejects.toThrow("no more");
    await left.opened;
  });

  test("a signal and a deadline end both sides", async () => {
    let begun = 0;
    let aborted = 0;
    const started = gate();
    await nats.worker({
      async *down(_request, { signal }) {
        begun++;
        started.open();
        if (!signal.aborted) {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        }
        aborted++;
      },
    });
    const client = await nats.client();
    const controller = new AbortController();
    const call = collect(client.down({}, { signal: controller.signal }));
    void started.opened.then(() => controller.abort());
    await expect(call).rejects.toMatchObject({ code: Code.Canceled });
    await until(() => aborted === 1);
    await lateOnceBegun(
      () => begun,
      () => collect(client.down({}, { timeoutMs: 200 })),
    );
    await until(() => aborted === begun);
    // Before it begins.
    await expect(collect(client.down({}, { signal: controller.signal }))).rejects.toMatchObject({
      code: Code.Canceled,
    });
  });

  test("no worker is told at once", async () => {
    const client = await nats.client();
    await expect(collect(client.down({}))).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("no worker serves"),
    });
    await expect(client.up(numbers(3))).rejects.toMatchObject({ code: Code.Unavailable });
  });

  test("messages that are too large end the call with ResourceExhausted", async () => {
    await nats.worker(
      {
        down: (request) => numbers(3, new Uint8Array(request.count)),
        up: async (requests) => ({ index: (await collect(requests)).length }),
        get: (request) => ({ data: request.data }),
      },
      { readMaxBytes: 50_000, writeMaxBytes: 200_000 },
    );
    const client = await nats.client({ readMaxBytes: 100_000, writeMaxBytes: 300_000 });
    const tooLarge = { code: Code.ResourceExhausted };
    await expect(collect(client.down({ count: 150_000 }))).rejects.toMatchObject(tooLarge);
    await expect(collect(client.down({ count: 250_000 }))).rejects.toMatchObject(tooLarge);
    await expect(client.up(numbers(3, new Uint8Array(60_000)))).rejects.toMatchObject(tooLarge);
    await expect(client.up(numbers(3, new Uint8Array(400_000)))).rejects.toMatchObject(tooLarge);
    await expect(client.get({ data: new Uint8Array(60_000) })).rejects.toMatchObject(tooLarge);
    await expect(client.get({ data: new Uint8Array(400_000) })).rejects.toMatchObject(tooLarge);
    expect(await collect(client.down({ count: 90_000 }))).toHaveLength(3);
  });
});

describe("a worker", () => {
  test("lets streams finish when drained", async () => {
    const finish = gate();
    const worker = await nats.worker(
      {
        async *down() {
          yield {};
          await finish.opened;
          yield {};
        },
      },
      patientDrain,
    );
    const client = await nats.client();
    const finishes = client.down({})[Symbol.asyncIterator]();
    await finishes.next();
    const drained = worker.drain();
    finish.open();
    expect((await finishes.next()).done).toBe(false);
    expect((await finishes.next()).done).toBe(true);
    await drained;
  });

  test("stops streams that do not finish when drained", async () => {
    const aborted = gate();
    const worker = await nats.worker(
      {
        async *down(_request, context) {
          yield {};
          context.signal.addEventListener("abort", aborted.open);
          await new Promise(() => undefined);
        },
      },
      { drainTimeoutMs: 10 },
    );
    const client = await nats.client();
    const endless = client.down({})[Symbol.asyncIterator]();
    await endless.next();
    const drained = worker.drain();
    await expect(endless.next()).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: "the worker stops",
    });
    await aborted.opened;
    await drained;
  });
});

describe("a peer that vanishes", () => {
  test("a killed worker ends its calls as Unavailable", async () => {
    const worker = start("stream-peer.mjs", nats.environment("worker"));
    await worker.says("ready");
    const client = await nats.client();
    const forever = (async function* () {
      yield { text: "hello" };
      await new Promise(() => undefined);
    })();
    const responses = client.chat(forever)[Symbol.asyncIterator]();
    expect((await responses.next()).value?.text).toBe("hello!");
    const unary = client.get({});
    unary.catch(() => undefined);
    await worker.says("asked");
    await worker.end("SIGKILL");
    await expect(responses.next()).rejects.toMatchObject({ code: Code.Unavailable });
    await expect(unary).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("may have run"),
    });
  });

  test("so does one that stands still, or whose network is cut", async () => {
    const worker = start("stream-peer.mjs", nats.environment("worker"));
    await worker.says("ready");
    const client = await nats.client();
    const forever = (async function* () {
      yield { text: "hello" };
      await new Promise(() => undefined);
    })();
    const responses = client.chat(forever)[Symbol.asyncIterator]();
    expect((await responses.next()).value?.text).toBe("hello!");
    worker.signal("SIGSTOP");
    await expect(responses.next()).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("silent"),
    });
    worker.signal("SIGCONT");
  });

  test.each(["SIGKILL", "SIGSTOP"] as const)(
    "a caller's %s fires its handler's signal",
    async (signal) => {
      const gone = gate();
      const heard = gate();
      let reason: unknown;
      await nats.worker({
        async *chat(requests, context) {
          context.signal.addEventListener("abort", () => {
            reason = context.signal.reason;
            gone.open();
          });
          for await (const { text } of requests) {
            yield { text };
            heard.open();
          }
        },
      });
      const caller = start("stream-peer.mjs", nats.environment("client"), "caller");
      await heard.opened;
      await caller.says("hello");
      caller.signal(signal);
      await gone.opened;
      expect(reason).toBeInstanceOf(ConnectError);
    },
  );

  test("a slow unary call and a quiet stream are kept alive", async () => {
    const pause = () => new Promise((resolve) => setTimeout(resolve, 8_000));
    await nats.worker({
      get: async () => {
        await pause();
        return { text: "slow" };
      },
      async *down() {
        await pause();
        yield { text: "quiet" };
      },
    });
    const client = await nats.client();
    const [unary, stream] = await Promise.all([client.get({}), collect(client.down({}))]);
    expect([unary.text, stream[0]?.text]).toEqual(["slow", "quiet"]);
  });

  test("a lost server ends streams on both sides at once", async () => {
    await using server = await nats.start();
    const aborted = gate();
    await nats.worker(
      {
        async *down(_request, context) {
          context.signal.addEventListener("abort", aborted.open);
          yield {};
          await new Promise(() => undefined);
        },
      },
      { url: server.url },
    );
    const client = await nats.client({ url: server.url });
    const responses = client.down({})[Symbol.asyncIterator]();
    await responses.next();
    await server.stop();
    await expect(responses.next()).rejects.toMatchObject({ code: Code.Unavailable });
    await aborted.opened;
  });
});
