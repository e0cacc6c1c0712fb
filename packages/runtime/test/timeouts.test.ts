import { setTimeout as delay } from "node:timers/promises";
import type { CallOptions, HandlerContext, Interceptor } from "@connectrpc/connect";
import { Code, ConnectError } from "@jetrpc/runtime";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  collect,
  failureOf,
  gate,
  lateOnceBegun,
  submittedInTime,
  type TestClient,
  until,
  useNats,
} from "./support.js";
import { Stops, WireTap } from "./wire-tap.js";

const nats = useNats();

/** Every kind of call, of methods whose handlers answer with the time that they see. */
const ways: [string, (client: TestClient, options: CallOptions) => Promise<unknown>][] = [
  ["a direct call", (client, options) => client.get({}, options)],
  ["a direct call of a method with a time-out", (client, options) => client.slow({}, options)],
  ["a direct stream", (client, options) => collect(client.down({}, options))],
  ["a durable call", (client, options) => client.do({}, options)],
  ["a durable call of a method with a time-out", (client, options) => client.limited({}, options)],
  ["a durable stream", (client, options) => collect(client.count({}, options))],
];

/** A worker whose handlers keep what `timeoutMs()` tells them. */
async function watch(): Promise<(number | undefined)[]> {
  const seen: (number | undefined)[] = [];
  const see = (context: HandlerContext) => {
    seen.push(context.timeoutMs());
    return {};
  };
  await nats.worker({
    get: (_request, context) => see(context),
    slow: (_request, context) => see(context),
    async *down(_request, context) {
      yield see(context);
    },
    do: (_request, context) => see(context),
    limited: (_request, context) => see(context),
    async *count(_request, context) {
      yield see(context);
    },
  });
  return seen;
}

describe("a handler is told", () => {
  test.each(ways)("of no time where the caller of %s set none", async (_way, run) => {
    const seen = await watch();
    const client = await nats.client();
    for (const options of [{}, { timeoutMs: 0 }, { timeoutMs: -1 }]) {
      await run(client, options);
    }
    expect(seen).toEqual([undefined, undefined, undefined]);
  });

  test.each(ways)("of the time that the caller of %s set", async (_way, run) => {
    const seen = await watch();
    await run(await nats.client(), { timeoutMs: 60_000 });
    expect(seen[0]).toBeGreaterThan(0);
    expect(seen[0]).toBeLessThanOrEqual(60_000);
  });

  test("of that time, too, where an interceptor makes the request anew", async () => {
    const seen = await watch();
    const renew: Interceptor = (next) => (request) => {
      const {
        stream,
        service,
        method,
        requestMethod,
        url,
        header,
        contextValues,
        message,
        signal,
      } = request;
      const copy = { service, method, requestMethod, url, header, contextValues, signal };
      return next({ ...copy, stream, message } as typeof request);
    };
    const client = await nats.client({ interceptors: [renew] });
    await client.get({}, { timeoutMs: 60_000 });
    await collect(client.down({}, { timeoutMs: 60_000 }));
    await client.do({}, { timeoutMs: 60_000 });
    expect(seen.map((ms) => ms !== undefined && ms <= 60_000)).toEqual([true, true, true]);
  });

  test("of the time that the connection sets for direct calls", async () => {
    const seen = await watch();
    const client = await nats.client({ defaultTimeoutMs: 50_000 });
    await client.get({});
    await collect(client.down({}));
    await client.get({}, { timeoutMs: 0 });
    await client.do({});
    await collect(client.count({}));
    expect(seen.map((ms) => ms !== undefined && ms > 0 && ms <= 50_000)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("a direct call", () => {
  /** Outlives the 300 ms of its method; tells whether its signal fired meanwhile. */
  const outlive = async (_request: unknown, { signal }: HandlerContext) => {
    await delay(400);
    return { text: signal.aborted ? "stopped" : "left alone" };
  };

  test.each([0, -1, Number.POSITIVE_INFINITY])(
    "with timeoutMs %s outlives the time-out of its method",
    async (timeoutMs) => {
      await nats.worker({ slow: outlive });
      const client = await nats.client();
      expect(await client.slow({}, { timeoutMs })).toMatchObject({ text: "left alone" });
    },
  );

  test("of a connection without time-outs outlives that of its method", async () => {
    await nats.worker({ slow: outlive });
    const client = await nats.client({ defaultTimeoutMs: 0 });
    expect(await client.slow({})).toMatchObject({ text: "left alone" });
  });

  test("has the time-out of its method where nobody says anything, and its signal fires", async () => {
    let begun = 0;
    const stopped = gate();
    await nats.worker({
      slow: async (_request, { signal }) => {
        begun++;
        signal.addEventListener("abort", () => stopped.open());
        await stopped.opened;
        return {};
      },
    });
    const client = await nats.client();
    await lateOnceBegun(
      () => begun,
      () => client.slow({}),
    );
    await stopped.opened;
  });

  test("has the time-out of its connection where its caller says nothing", async () => {
    const wait = () => new Promise<never>(() => undefined);
    await nats.worker({
      get: wait,
      async *down() {
        yield await wait();
      },
    });
    const client = await nats.client({ defaultTimeoutMs: 50 });
    for (const run of [() => client.get({}), () => collect(client.down({}))]) {
      expect((await failureOf(run())).code).toBe(Code.DeadlineExceeded);
    }
  });
});

describe("what is no time", () => {
  const timeoutMs = Number.NaN;
  const refused = { code: Code.InvalidArgument, rawMessage: expect.stringContaining("NaN") };

  test.each(ways)("is refused at once by %s", async (_way, run) => {
    const client = await nats.client();
    for (const wrong of [timeoutMs, "NaN" as never]) {
      expect(await failureOf(run(client, { timeoutMs: wrong }))).toMatchObject(refused);
    }
  });

  test("is refused at once by submit() and by result()", async () => {
    const client = await nats.client();
    expect(await failureOf(client.do.submit({}, { timeoutMs }))).toMatchObject(refused);
    const call = client.do.attach("any");
    expect(await failureOf(call.result({ timeoutMs }))).toMatchObject(refused);
  });

  test("is refused at once by connect()", async () => {
    const wrong = nats.connect({ defaultTimeoutMs: timeoutMs });
    expect(await failureOf(wrong)).toMatchObject(refused);
  });
});

test("the time of a direct call covers the upload of a large request", async () => {
  const stops = new Stops();
  const tap = await WireTap.start(nats.server.port, stops);
  onTestFinished(() => tap.close());
  let ran = 0;
  await nats.worker({
    get: () => {
      ran++;
      return {};
    },
  });
  const client = await nats.client({ url: tap.url });
  // Nothing of the call reaches the server from its first chunk on.
  const uploading = stops.add("Get", "before", ({ subject }) => subject.includes(".C.rpc.Get."));
  const call = failureOf(client.get({ data: new Uint8Array(2_000_000) }, { timeoutMs: 1_000 }));
  await uploading;
  expect(await call).toMatchObject({
    code: Code.DeadlineExceeded,
    rawMessage: expect.stringContaining("did not end within 1000 ms"),
  });
  expect(ran).toBe(0);
  stops.release();
});

describe("a durable handler that gives something too late", () => {
  /** Blocks the event loop: no timer fires meanwhile. */
  const block = (ms: number) => {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      // No timer can fire.
    }
  };

  /** Waits for the end of a call whose handler gives something as soon as its signal fires. */
  const aborted = ({ signal }: HandlerContext) =>
    new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve());
    });

  const late: [string, (context: HandlerContext) => Promise<void> | void][] = [
    ["when its signal fires", aborted],
    ["after it has blocked the event loop", () => block(250)],
  ];

  test.each(late)("%s has lost: the call has expired", async (_when, wait) => {
    await nats.worker({
      do: async ({ text }, context) => {
        await wait(context);
        if (text) {
          throw new ConnectError(text, Code.NotFound);
        }
        return { text: "too late" };
      },
      async *count(_request, context) {
        yield { text: "in time" };
        await wait(context);
        yield { text: "too late" };
      },
    });
    const client = await nats.client();
    // A stream takes a round trip for the message before it waits.
    const options = { timeoutMs: 200 };
    const calls = [
      await submittedInTime(() => client.do.submit({}, options)),
      await submittedInTime(() => client.do.submit({ text: "too late, too" }, options)),
      await submittedInTime(() => client.count.submit({}, options)),
    ];
    for (const call of calls) {
      const ended = ["succeeded", "failed", "expired"];
      await until(async () => ended.includes((await call.status()).state));
      expect((await call.status()).state).toBe("expired");
    }
    expect((await calls[2]?.status())?.messages).toBeLessThanOrEqual(1);
  });

  test("sees a ConnectError as the reason of its signal", async () => {
    const reasons: unknown[] = [];
    const see = async (_request: unknown, context: HandlerContext) => {
      await aborted(context);
      reasons.push(context.signal.reason);
      return {};
    };
    await nats.worker({ do: see, limited: see });
    const client = await nats.client();
    for (const run of [() => client.do({}, { timeoutMs: 100 }), () => client.limited({})]) {
      await lateOnceBegun(() => reasons.length, run);
    }
    for (const reason of reasons) {
      expect(reason).toBeInstanceOf(ConnectError);
      expect(reason).toMatchObject({ code: Code.DeadlineExceeded });
    }
  });

  test("and too late for its attempt is attempted again, as often as the schema says", async () => {
    let attempts = 0;
    await nats.worker({
      limited: (_request, { attempt }) => {
        attempts = attempt;
        block(350);
        return {};
      },
    });
    const error = await failureOf((await nats.client()).limited({}));
    expect(error.code).toBe(Code.DeadlineExceeded);
    expect(attempts).toBe(2);
  });
});
