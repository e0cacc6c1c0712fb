import { getEventListeners } from "node:events";
import { create, createFileRegistry, type DescService, setExtension } from "@bufbuild/protobuf";
import { FieldOptionsSchema } from "@bufbuild/protobuf/wkt";
import {
  FieldRulesSchema,
  field,
  StringRulesSchema,
  ViolationsSchema,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import {
  createClient as createConnectClient,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";
import { createValidateInterceptor } from "@connectrpc/validate";
import {
  type CallOptions,
  Code,
  ConnectError,
  createRetryInterceptor,
  type Interceptor,
  mayHaveRun,
  startWorker,
} from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { fileSetOf } from "./file-set.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, useNats } from "./support.js";

const nats = useNats();
const token = createContextKey("");

describe("interceptors", () => {
  const tag =
    (name: string, seen: string[]): Interceptor =>
    (next) =>
    async (request) => {
      seen.push(`${name} ${request.method.name} ${request.stream}`);
      request.header.append("x-path", name);
      const response = await next(request);
      response.header.append("x-back", name);
      if (response.stream) {
        return {
          ...response,
          message: (async function* () {
            for await (const message of response.message) {
              seen.push(`${name} message`);
              yield message;
            }
            response.trailer.append("x-end", name);
          })(),
        } as typeof response;
      }
      response.trailer.append("x-end", name);
      return response;
    };

  test("run around submit() as around the call itself", async () => {
    const seen: string[] = [];
    await nats.worker({
      do: (_request, context) => ({ text: context.requestHeader.get("authorization") ?? "" }),
      async *count(request, context) {
        yield { text: `${request.text} ${context.requestHeader.get("authorization")}` };
      },
    });
    const auth: Interceptor = (next) => async (request) => {
      request.header.set("authorization", request.contextValues.get(token));
      const response = await next(request);
      seen.push(`${request.method.name} ${response.stream} ${[...response.header].length}`);
      return response;
    };
    const twice: Interceptor = (next) => async (request) => {
      await next(request);
      return next(request);
    };
    const contextValues = createContextValues().set(token, "Bearer a");
    const client = await nats.client({ interceptors: [auth] });
    const headers = { "x-mine": "1" };
    const unary = await client.do.submit({}, { contextValues, headers, timeoutMs: 60_000 });
    expect(await unary.result()).toMatchObject({ text: "Bearer a" });
    const stream = await client.count.submit({ text: "s" }, { contextValues, callId: "named" });
    expect(await collect(stream)).toMatchObject([{ text: "s Bearer a" }]);
    for await (const { call } of client.do.submitAll([{}], () => ({ contextValues }))) {
      expect(await call?.result()).toMatchObject({ text: "Bearer a" });
    }
    expect(seen).toEqual(["Do false 0", "Count true 0", "Do false 0"]);

    const doubling = await nats.client({ interceptors: [twice] });
    const one = await doubling.do.submit({});
    await one.result();
    expect((await one.status()).attempts).toHaveLength(1);
  });

  test("that answer a submission themselves, or refuse it, submit nothing", async () => {
    const answering: Interceptor = () => async (request) => {
      const message = create(request.method.output);
      const common = { service: request.service, header: new Headers(), trailer: new Headers() };
      return { ...common, stream: false, method: request.method, message } as never;
    };
    const refusing: Interceptor = () => async () => {
      throw new ConnectError("not you", Code.PermissionDenied);
    };
    for (const [interceptor, code] of [
      [answering, Code.FailedPrecondition],
      [refusing, Code.PermissionDenied],
    ] as const) {
      const client = await nats.client({ interceptors: [interceptor] });
      await expect(client.do.submit({}, { callId: "never" })).rejects.toMatchObject({ code });
    }
    const client = await nats.client();
    await expect(client.do.attach("never").status()).rejects.toMatchObject({ code: Code.NotFound });
  });

  test("run alike on both sides, around calls of every kind", async () => {
    const seen: string[] = [];
    await nats.worker(
      {
        get: (_request, context) => ({ text: context.requestHeader.get("x-path") ?? "" }),
        async *down(_request, context) {
          yield { text: context.requestHeader.get("x-path") ?? "" };
        },
        up: async (requests, context) => {
          await collect(requests);
          return { text: context.requestHeader.get("x-path") ?? "" };
        },
        async *chat(requests, context) {
          await collect(requests);
          yield { text: context.requestHeader.get("x-path") ?? "" };
        },
        do: (_request, context) => ({ text: context.requestHeader.get("x-path") ?? "" }),
        async *count(_request, context) {
          yield { text: context.requestHeader.get("x-path") ?? "" };
        },
      },
      { interceptors: [tag("w1", seen), tag("w2", seen)] },
    );
    const client = await nats.client({ interceptors: [tag("c1", seen), tag("c2", seen)] });
    const metadata: (string | null)[] = [];
    const options = {
      onHeader: (header: Headers) => metadata.push(header.get("x-back")),
      onTrailer: (trailer: Headers) => metadata.push(trailer.get("x-end")),
    };
    const one = async function* () {
      yield {};
    };
    const texts = [
      (await client.get({}, options)).text,
      (await collect(client.down({}, options)))[0]?.text,
      (await client.up(one(), options)).text,
      (await collect(client.chat(one(), options)))[0]?.text,
      (await client.do({}, options)).text,
      (await collect(client.count({}, options)))[0]?.text,
    ];
    expect(texts).toEqual(Array(6).fill("c1, c2, w1, w2"));
    expect(metadata).toEqual(Array(12).fill("w2, w1, c2, c1"));
    expect(seen.filter((each) => each.includes("Down"))).toEqual(
      ["c1", "c2", "w1", "w2"].map((name) => `${name} Down true`),
    );
  });

  test("may answer by themselves, and may change what passes", async () => {
    await nats.worker(
      { get: (request) => ({ text: request.text }) },
      {
        interceptors: [
          (next) => async (request) => {
            if (request.header.get("x-token") !== "open") {
              throw new ConnectError("who are you?", Code.Unauthenticated);
            }
            return next(request);
          },
        ],
      },
    );
    const client = await nats.client({
      interceptors: [
        (next) => async (request) =>
          next(
            request.stream
              ? request
              : ({
                  ...request,
                  message: { ...request.message, text: "changed" },
                } as typeof request),
          ),
      ],
    });
    await expect(client.get({})).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect((await client.get({}, { headers: { "x-token": "open" } })).text).toBe("changed");
  });

  test("see signals and timeouts pass through them", async () => {
    await nats.worker({ get: () => new Promise(() => undefined) });
    const client = await nats.client({
      interceptors: [
        (next) => async (request) => {
          expect(request.signal.aborted).toBe(false);
          return next({ ...request } as typeof request);
        },
      ],
    });
    await expect(client.get({}, { timeoutMs: 100 })).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
    });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    await expect(client.get({}, { signal: controller.signal })).rejects.toMatchObject({
      code: Code.Canceled,
    });
  });
});

describe("interceptors of a client, as in Connect", () => {
  /** A client of workers that answer, by its call of each kind. */
  async function callsBy(interceptor: Interceptor) {
    const header = (context: { responseHeader: Headers; responseTrailer: Headers }) => {
      context.responseHeader.set("x-lead", "l");
      context.responseTrailer.set("x-trail", "t");
    };
    await nats.worker({
      get: (_request, context) => {
        header(context);
        return { text: "answer" };
      },
      do: (_request, context) => {
        header(context);
        return { text: "answer" };
      },
      async *down(_request, context) {
        header(context);
        yield { text: "answer" };
      },
      async *count(_request, context) {
        header(context);
        yield { text: "answer" };
      },
    });
    const client = await nats.client({ interceptors: [interceptor] });
    return {
      get: (options?: CallOptions) => client.get({}, options),
      do: (options?: CallOptions) => client.do({}, options),
      down: (options?: CallOptions) => collect(client.down({}, options)),
      count: (options?: CallOptions) => collect(client.count({}, options)),
    };
  }
  const kinds = ["get", "do", "down", "count"] as const;
  /** Settles when a signal fires; a test that hangs here fails by its time-out. */
  const fired = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      const stop = () => reject(signal.reason);
      signal.aborted ? stop() : signal.addEventListener("abort", stop);
    });

  test.each(kinds)("have a signal that ends the time of a call: %s", async (kind) => {
    const calls = await callsBy(
      () =>
        async ({ signal }) =>
          fired(signal),
    );
    await expect(calls[kind]({ timeoutMs: 50 })).rejects.toMatchObject({
      name: "ConnectError",
      code: Code.DeadlineExceeded,
    });
    const controller = new AbortController();
    const call = calls[kind]({ signal: controller.signal });
    controller.abort(new Error("not needed any more"));
    await expect(call).rejects.toMatchObject({
      name: "ConnectError",
      code: Code.Canceled,
      cause: { message: "not needed any more" },
    });
  });

  test.each(kinds)("have a signal that fires when the call has ended: %s", async (kind) => {
    const signals: AbortSignal[] = [];
    const calls = await callsBy((next) => async (request) => {
      signals.push(request.signal);
      return next(request);
    });
    const caller = new AbortController();
    await calls[kind]({ signal: caller.signal, timeoutMs: 60_000 });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    expect(getEventListeners(caller.signal, "abort")).toEqual([]);
  });

  test.each(kinds)("make a ConnectError of whatever they throw: %s", async (kind) => {
    const thrown = [
      [new Error("a bug"), Code.Unknown, "a bug"],
      ["a text", Code.Unknown, "a text"],
      [undefined, Code.Unknown, "undefined"],
      [new DOMException("left", "AbortError"), Code.Canceled, "left"],
      [new ConnectError("no", Code.PermissionDenied), Code.PermissionDenied, "no"],
    ] as const;
    for (const [reason, code, rawMessage] of thrown) {
      for (const when of ["before", "after", "among its messages"]) {
        const calls = await callsBy((next) => async (request) => {
          const response = when === "before" ? undefined : await next(request);
          if (!response?.stream || when === "after") {
            throw reason;
          }
          const message = (async function* () {
            yield* response.message;
            throw reason;
          })();
          return { ...response, message };
        });
        await expect(calls[kind](), `${rawMessage}, ${when}`).rejects.toMatchObject({
          name: "ConnectError",
          code,
          rawMessage,
        });
      }
    }
  });

  test.each(kinds)("may copy a response: %s", async (kind) => {
    const calls = await callsBy((next) => async (request) => {
      const response = await next(request);
      expect(response.service.typeName).toBe(TestService.typeName);
      return response.stream ? { ...response } : { ...response, message: response.message };
    });
    const seen: (string | null)[] = [];
    const onHeader = (header: Headers) => seen.push(header.get("x-lead"));
    const onTrailer = (trailer: Headers) => seen.push(trailer.get("x-trail"));
    await calls[kind]({ onHeader, onTrailer });
    expect(seen).toEqual(["l", "t"]);
  });
});

describe("createRetryInterceptor", () => {
  /** Counts attempts, and fails the first of them. */
  const failing = (times: number, error: () => ConnectError) => {
    const state = { attempts: 0 };
    const interceptor: Interceptor = (next) => async (request) => {
      state.attempts++;
      if (state.attempts <= times) {
        throw error();
      }
      return next(request);
    };
    return { state, interceptor };
  };
  const lost = () => new ConnectError("lost", Code.Unavailable);

  test("repeats what has no side effects", async () => {
    await nats.worker({ get: () => ({ text: "here" }) });
    const { state, interceptor } = failing(2, lost);
    const client = await nats.client({
      interceptors: [createRetryInterceptor({ backoffMs: 1 }), interceptor],
    });
    expect((await client.get({})).text).toBe("here");
    expect(state.attempts).toBe(3);
  });

  test("gives up after maxAttempts, and leaves other codes alone", async () => {
    await nats.worker({ get: () => ({}) });
    const often = failing(9, lost);
    const retry = createRetryInterceptor({ maxAttempts: 4, backoffMs: 1 });
    const client = await nats.client({ interceptors: [retry, often.interceptor] });
    await expect(client.get({})).rejects.toMatchObject({ code: Code.Unavailable });
    expect(often.state.attempts).toBe(4);
    const other = failing(9, () => new ConnectError("no", Code.Internal));
    const failingClient = await nats.client({ interceptors: [retry, other.interceptor] });
    await expect(failingClient.get({})).rejects.toMatchObject({ code: Code.Internal });
    expect(other.state.attempts).toBe(1);
  });

  test("repeats what has side effects only when it reached nobody", async () => {
    const { state, interceptor } = failing(9, lost);
    const retry = createRetryInterceptor({ backoffMs: 1 });
    const client = await nats.client({ interceptors: [retry, interceptor] });
    // Its own time-out is short for a busy machine.
    const patient = { timeoutMs: 60_000 };
    await expect(client.slow({}, patient)).rejects.toMatchObject({ code: Code.Unavailable });
    expect(state.attempts).toBe(1);

    let attempts = 0;
    const count: Interceptor = (next) => async (request) => {
      attempts++;
      if (attempts === 3) {
        await nats.worker({ slow: () => ({ text: "at last" }) });
      }
      return next(request);
    };
    const late = await nats.client({ interceptors: [retry, count] });
    expect((await late.slow({}, patient)).text).toBe("at last");
    expect(attempts).toBe(3);
  });

  test("keeps within the deadline and the signal of the call", async () => {
    const retry = createRetryInterceptor({ maxAttempts: 1000, backoffMs: 30 });
    const client = await nats.client({ interceptors: [retry] });
    await expect(client.get({}, { timeoutMs: 200 })).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
    });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 100);
    await expect(client.get({}, { signal: controller.signal })).rejects.toMatchObject({
      code: Code.Canceled,
    });
  });
});

describe("mayHaveRun", () => {
  test("tells calls that reached nobody from those that may have run", async () => {
    const client = await nats.client();
    expect(mayHaveRun(await client.get({}).catch((e) => e))).toBe(false);
    const large = { headers: { "x-large": "x".repeat(2_000_000) } };
    const tooLarge = await client.get({}, large).catch((e) => e);
    expect(tooLarge.code).toBe(Code.ResourceExhausted);
    expect(mayHaveRun(tooLarge)).toBe(false);
    await nats.worker({ get: () => new Promise(() => undefined) });
    expect(mayHaveRun(await client.get({}, { timeoutMs: 50 }).catch((e) => e))).toBe(true);
    const connection = await nats.connect();
    await connection.close();
    const closed = createConnectClient(TestService, connection.transport);
    expect(mayHaveRun(await closed.get({}).catch((e) => e))).toBe(false);
  });
});

describe("@connectrpc/validate", () => {
  /** The service with a rule: `text` has at least three characters. */
  function withRules(): DescService {
    const files = fileSetOf(TestService.file);
    const request = files.file
      .find(({ name }) => name === "test/v1/test.proto")
      ?.messageType.find(({ name }) => name === "Request");
    const text = request?.field.find(({ name }) => name === "text");
    if (!text) {
      throw new Error("no field text");
    }
    text.options = create(FieldOptionsSchema);
    setExtension(
      text.options,
      field,
      create(FieldRulesSchema, {
        type: { case: "string", value: create(StringRulesSchema, { minLen: 3n }) },
      }),
    );
    return createFileRegistry(files).getService(TestService.typeName) as DescService;
  }

  test("refuses messages that break rules, with the violations as details", async () => {
    const service = withRules();
    const worker = await nats.connect({ as: "worker" });
    const ran: string[] = [];
    const impl = {
      get: ({ text }: { text: string }) => {
        ran.push(text);
        return { text };
      },
      do: ({ text }: { text: string }) => {
        ran.push(text);
        return { text };
      },
      async *down({ text }: { text: string }) {
        ran.push(text);
        yield { text };
      },
    };
    const started = await startWorker(service, impl as never, worker, {
      interceptors: [createValidateInterceptor()],
    });
    const unchecked = await nats.client();
    const checked = await nats.connect({
      as: "client",
      interceptors: [createValidateInterceptor()],
    });
    // biome-ignore lint/suspicious/noExplicitAny: a service that was made at run time has no types
    const strict = createConnectClient(service, checked.transport) as any;
    const calls: (() => Promise<unknown>)[] = [
      () => unchecked.get({ text: "no" }),
      () => unchecked.do({ text: "no" }),
      () => collect(unchecked.down({ text: "no" })),
      () => strict.get({ text: "no" }),
      () => collect(strict.down({ text: "no" })),
    ];
    for (const call of calls) {
      const error = (await call().catch((e: unknown) => e)) as ConnectError;
      expect(error).toMatchObject({ code: Code.InvalidArgument });
      const [violations] = error.findDetails(ViolationsSchema);
      expect(violations?.violations[0]?.ruleId).toBe("string.min_len");
    }
    expect(ran).toEqual([]);
    expect((await strict.get({ text: "yes" })).text).toBe("yes");
    expect((await unchecked.do({ text: "yes" })).text).toBe("yes");
    await started.drain();
  });
});
