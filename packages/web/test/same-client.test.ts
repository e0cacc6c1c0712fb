import { create } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  createRetryInterceptor,
  type Interceptor,
  mayHaveRun,
} from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { ResponseSchema } from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf, gate, until } from "../../runtime/test/support.js";
import { useWeb, ways } from "./support.js";

const web = useWeb();

describe.each(ways)("over %s", (way) => {
  test("a direct call passes messages, headers and trailers", async () => {
    await web.worker({
      get: ({ text }, context) => {
        context.responseHeader.set("x-answer", context.requestHeader.get("x-question") ?? "");
        context.responseTrailer.set("x-end", "true");
        return { text: `got ${text}` };
      },
    });
    const client = await web.client(way);
    expect((await client.get({ text: "it" })).text).toBe("got it");
    let header: string | null = null;
    let trailer: string | null = null;
    await client.get(
      { text: "it" },
      {
        headers: { "X-Question": "why" },
        onHeader: (its) => {
          header = its.get("x-answer");
        },
        onTrailer: (its) => {
          trailer = its.get("x-end");
        },
      },
    );
    expect([header, trailer]).toEqual(["why", "true"]);
  });

  test("the metadata of a durable call comes with its end, and its messages", async () => {
    await web.worker({
      do: (_request, context) => {
        context.responseHeader.set("x-answer", "do");
        context.responseTrailer.set("x-end", "true");
        return {};
      },
      async *count(_request, context) {
        context.responseHeader.set("x-answer", "count");
        yield { index: 0 };
        yield { index: 1 };
        context.responseTrailer.set("x-end", "true");
      },
    });
    const client = await web.client(way);
    let got: unknown[] = [];
    const options = {
      onHeader: (header: Headers) => got.push(header.get("x-answer")),
      onTrailer: (trailer: Headers) => got.push(trailer.get("x-end")),
    };
    const calls = [
      () => client.do({}, options),
      async () => (await client.do.submit({})).result(options),
      () => collect(client.count({}, options)),
      async () => collect((await client.count.submit({})).messages(options)),
    ];
    for (const [index, call] of calls.entries()) {
      got = [];
      await call();
      expect(got).toEqual([index < 2 ? "do" : "count", "true"]);
    }
  });

  test("an error has its code, message, metadata and details", async () => {
    await web.worker({
      get: () => {
        throw new ConnectError("no such page", Code.OutOfRange, { "x-page": "7" }, [
          { desc: ResponseSchema, value: create(ResponseSchema, { text: "detail" }) },
        ]);
      },
      do: () => {
        throw new ConnectError("no such file", Code.NotFound, { "x-file": "a" }, [
          { desc: ResponseSchema, value: create(ResponseSchema, { text: "detail" }) },
        ]);
      },
    });
    const client = await web.client(way);
    for (const [call, message, code, name] of [
      [client.get({}), "no such page", Code.OutOfRange, "x-page"],
      [client.do({}), "no such file", Code.NotFound, "x-file"],
      [client.do.submit({}).then((its) => its.result()), "no such file", Code.NotFound, "x-file"],
    ] as const) {
      const error = await failureOf(call);
      expect(error).toMatchObject({ code, rawMessage: message });
      expect(error.metadata.has(name)).toBe(true);
      expect(error.findDetails(ResponseSchema)).toMatchObject([{ text: "detail" }]);
    }
  });

  test("a direct stream arrives, and ends when its reader leaves", async () => {
    const left = gate();
    await web.worker({
      async *down({ count }, { signal }) {
        signal.addEventListener("abort", left.open);
        for (let index = 0; index < count; index++) {
          yield { index };
        }
        if (count === 3) {
          await left.opened;
        }
      },
    });
    const client = await web.client(way);
    expect((await collect(client.down({ count: 5 }))).map(({ index }) => index)).toEqual([
      0, 1, 2, 3, 4,
    ]);
    for await (const { index } of client.down({ count: 3 })) {
      if (index === 2) {
        break;
      }
    }
    await left.opened;
  });

  test("a durable call is called, submitted, attached to, followed and read", async () => {
    const step = gate();
    await web.worker({
      do: async ({ text }, context) => {
        if (text === "step") {
          context.progress({ done: 1, total: 2, message: "half" });
          await step.opened;
        }
        return { text: `done ${text} ${context.requestHeader.get("x-sent")}` };
      },
      async *count({ count }) {
        for (let index = 0; index < count; index++) {
          yield { index };
        }
      },
    });
    const client = await web.client(way);
    const options = { headers: { "X-Sent": "hello" } };
    expect((await client.do({ text: "plain" }, options)).text).toBe("done plain hello");
    expect((await collect(client.count({ count: 4 }))).length).toBe(4);

    const callId = `one-${ways.indexOf(way)}`;
    const call = await client.do.submit({ text: "step" }, { callId, ...options });
    expect(call.id).toBe(callId);
    const again = client.do.attach(callId);
    for await (const report of again.progress()) {
      expect(report).toMatchObject({ done: 1, total: 2, message: "half" });
      await until(async () => (await again.status()).state === "running");
      const status = await again.status();
      expect(status).toMatchObject({ progress: { done: 1 } });
      expect(status.acceptedAt).toBeInstanceOf(Date);
      step.open();
    }
    expect((await call.result()).text).toBe("done step hello");
    expect((await again.result()).text).toBe("done step hello");
    expect(await collect(again.progress())).toMatchObject([{ done: 1 }]);
    expect(await again.status()).toMatchObject({ state: "succeeded", endedAt: expect.any(Date) });
    expect(await again.cancel()).toBe(false);
    // The same call again, and another one under its id.
    expect((await client.do.submit({ text: "step" }, { callId, ...options })).id).toBe(callId);
    const other = await failureOf(client.do.submit({ text: "other" }, { callId }));
    expect(other.code).toBe(Code.AlreadyExists);

    const streamed = await client.count.submit({ count: 5 });
    expect((await collect(streamed)).map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
    const rest = await collect(client.count.attach(streamed.id).messages({ from: 3 }));
    expect(rest.map(({ index }) => index)).toEqual([3, 4]);
    expect(() => streamed.messages({ from: -1 })).toThrow(/from is -1/);
  });

  test("many calls are submitted, and a bad one is told in its place", async () => {
    await web.worker({ do: ({ text }) => ({ text: `did ${text}` }) });
    const client = await web.client(way);
    const texts = ["a", "b", "c"];
    const outcomes = await collect(
      client.do.submitAll(
        texts.map((text) => ({ text })),
        ({ text }) => (text === "b" ? { callId: "no.t valid" } : {}),
      ),
    );
    expect(outcomes[1]?.error?.code).toBe(Code.InvalidArgument);
    expect((await outcomes[0]?.call?.result())?.text).toBe("did a");
    expect((await outcomes[2]?.call?.result())?.text).toBe("did c");
  });

  test("a durable call is canceled, and its waits by signal or time", async () => {
    const canceled = gate();
    await web.worker({
      do: async (_request, { signal }) => {
        signal.addEventListener("abort", canceled.open);
        await canceled.opened;
        throw signal.reason;
      },
      async *count(_request, { signal }) {
        yield { index: 0 };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    });
    const client = await web.client(way);
    const call = await client.do.submit({});
    const late = await failureOf(call.result({ timeoutMs: 50 }));
    expect(late.code).toBe(Code.DeadlineExceeded);
    const leaving = new AbortController();
    const waiting = failureOf(call.result({ signal: leaving.signal }));
    leaving.abort();
    expect((await waiting).code).toBe(Code.Canceled);
    await until(async () => (await call.status()).state === "running");
    expect(await call.cancel()).toBe(true);
    await canceled.opened;
    expect((await failureOf(call.result())).code).toBe(Code.Canceled);
    expect((await call.status()).state).toBe("cancelled");

    const streamed = await client.count.submit({});
    const messages = streamed.messages()[Symbol.asyncIterator]();
    expect((await messages.next()).value).toMatchObject({ index: 0 });
    const next = messages.next();
    await messages.return?.();
    expect((await next).done).toBe(true);
    await streamed.cancel();
    // A plain call that is too late takes its call along.
    const plain = await failureOf(
      client
        .count({}, { timeoutMs: 10_000 })
        [Symbol.asyncIterator]()
        .next()
        .then(() => client.do({}, { timeoutMs: 50 })),
    );
    expect(plain.code).toBe(Code.DeadlineExceeded);
  });

  test("a direct call ends by its time, by its signal, and without a worker", async () => {
    const started = gate();
    const ended = gate();
    await web.worker({
      slow: async (_request, { signal }) => {
        started.open();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        ended.open();
        return {};
      },
    });
    const client = await web.client(way);
    expect((await failureOf(client.slow({}))).code).toBe(Code.DeadlineExceeded);
    const leaving = new AbortController();
    const call = failureOf(client.slow({}, { signal: leaving.signal, timeoutMs: 0 }));
    await started.opened;
    leaving.abort();
    expect((await call).code).toBe(Code.Canceled);
    await ended.opened;
    const lonely = await failureOf(client.two({}));
    expect(lonely.code).toBe(Code.Unavailable);
    expect(mayHaveRun(lonely)).toBe(false);
  });

  test("interceptors see calls and submissions, and repeat what surely did not run", async () => {
    let calls = 0;
    const worker = await web.worker({
      do: ({ text }, { requestHeader }) => ({ text: `${text} ${requestHeader.get("x-by")}` }),
    });
    const seen: string[] = [];
    const note: Interceptor = (next) => (request) => {
      calls += Number(request.method.name === "Two");
      seen.push(request.method.name);
      request.header.set("x-by", "interceptor");
      return next(request);
    };
    const retry = createRetryInterceptor({ maxAttempts: 3, backoffMs: 1 });
    const client = await web.client(way, { interceptors: [retry, note] });
    expect((await client.do({ text: "a" })).text).toBe("a interceptor");
    const call = await client.do.submit({ text: "b" });
    expect((await call.result()).text).toBe("b interceptor");
    expect(seen).toEqual(["Do", "Do"]);
    expect((await failureOf(client.two({}))).code).toBe(Code.Unavailable);
    expect(calls).toBe(3);
    await worker.drain();
  });

  test("an owner sees its own calls only", async () => {
    await web.worker({ do: ({ text }) => ({ text }) });
    const ada = await web.client(way, { owner: "ada" });
    const bob = await web.client(way, { owner: "bob" });
    const call = await ada.do.submit({ text: "mine" }, { callId: `mine-${ways.indexOf(way)}` });
    expect((await call.result()).text).toBe("mine");
    const stranger = bob.do.attach(call.id);
    for (const look of [
      () => stranger.status(),
      () => stranger.result(),
      () => stranger.cancel(),
      () => collect(stranger.progress()),
    ]) {
      expect((await failureOf(look())).code).toBe(Code.NotFound);
    }
  });
});
