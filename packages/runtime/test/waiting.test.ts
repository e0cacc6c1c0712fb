import { getEventListeners, once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { queryObjects } from "node:v8";
import {
  Code,
  ConnectError,
  createClient,
  type Interceptor,
  retryAfter,
  type StreamingCall,
  type UnaryCall,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { describe, expect, test } from "vitest";
import { type ResponseSchema, TestService } from "./gen/test/v1/test_pb.js";
import { useProcesses } from "./process.js";
import { collect, gate, type TestClient, until, useNats } from "./support.js";

const nats = useNats();
const start = useProcesses();

async function codeOf(work: Promise<unknown> | AsyncIterable<unknown>): Promise<string> {
  try {
    await (work instanceof Promise ? work : collect(work));
    return "no error";
  } catch (error) {
    return Code[ConnectError.from(error).code] as string;
  }
}

async function ask(subject: string, request: object = {}): Promise<Record<string, unknown>> {
  const { nats: root } = await nats.connect();
  return (await root.request(subject, JSON.stringify(request))).json();
}

const purge = (stream: string) => ask(`$JS.API.STREAM.PURGE.${stream}`);

async function messagesOf(stream: string): Promise<number> {
  const { state } = await ask(`$JS.API.STREAM.INFO.${stream}`);
  return (state as { messages: number } | undefined)?.messages ?? 0;
}

/** All who can wait for calls that no worker takes. */
async function waitInEveryWay(client: TestClient): Promise<Record<string, Promise<string>>> {
  const unary = await client.do.submit({});
  const stream = await client.count.submit({});
  const waiting = {
    "plain call": codeOf(client.do({})),
    "plain stream": codeOf(client.count({})),
    "result()": codeOf(unary.result()),
    "result() of an attached call": codeOf(client.do.attach(unary.id).result()),
    "messages()": codeOf(stream.messages()),
    "messages of an attached call": codeOf(client.count.attach(stream.id)),
    "progress()": codeOf(stream.progress()),
  };
  await until(async () => (await messagesOf("TEST")) === 4);
  // Those who attach have looked, and wait.
  await delay(500);
  return waiting;
}

async function endOfAll(waiting: Record<string, Promise<string>>): Promise<object> {
  const ends = Object.entries(waiting).map(async ([how, end]) => [how, await end]);
  return Object.fromEntries(await Promise.all(ends));
}

const everyWay = (code: string) => ({
  "plain call": code,
  "plain stream": code,
  "result()": code,
  "result() of an attached call": code,
  "messages()": code,
  "messages of an attached call": code,
  "progress()": code,
});

describe("whoever waits for a call", () => {
  test("hears NotFound when its queue is purged", async () => {
    const waiting = await waitInEveryWay(await nats.client());
    await purge("TEST");
    expect(await endOfAll(waiting)).toEqual(everyWay("NotFound"));
  });

  // Credentials of a client tell a stream that is gone from one that does not answer no more.
  test("hears NotFound when its streams are deleted", async () => {
    const waiting = await waitInEveryWay(await nats.client({ as: "root" }));
    for (const stream of ["TEST", "TEST_LOG", "TEST_LATER"]) {
      await ask(`$JS.API.STREAM.DELETE.${stream}`);
    }
    expect(await endOfAll(waiting)).toEqual(everyWay("NotFound"));
  });

  test("hears NotFound when its queue is purged while the connection is lost", async () => {
    await using server = await nats.start();
    const { url } = server;
    const client = await nats.client({ url });
    const call = await client.do.submit({});
    const end = call.result();
    end.catch(() => undefined);
    await server.kill();
    await server.restart();
    const root = await nats.connect({ url });
    await root.nats.request("$JS.API.STREAM.PURGE.TEST");
    expect(await codeOf(end)).toBe("NotFound");
    await root.close();
  });

  test("hears DataLoss when a call that is to be repeated has lost its request", async () => {
    const begun = gate();
    await nats.worker({
      do: () => {
        begun.open();
        throw retryAfter(new ConnectError("not yet", Code.Unavailable), 600_000);
      },
    });
    const client = await nats.client();
    const call = await client.do.submit({});
    await begun.opened;
    await until(async () => (await call.status()).state === "retrying");
    const end = codeOf(call.result());
    await purge("TEST");
    expect(await end).toBe("DataLoss");
  });

  test("hears DataLoss when the log that it has read a part of is purged", async () => {
    const finish = gate();
    await nats.worker({
      async *count() {
        yield { index: 0 };
        await finish.opened;
        yield { index: 1 };
      },
    });
    const client = await nats.client();
    const call = await client.count.submit({});
    const messages = call.messages()[Symbol.asyncIterator]();
    expect((await messages.next()).value).toMatchObject({ index: 0 });
    await purge("TEST_LOG");
    expect(await codeOf(messages.next())).toBe("DataLoss");
    finish.open();
  });

  test("never gets a message twice when the log is purged and the attempt is made anew", async () => {
    const finish = gate();
    await nats.worker({
      async *count() {
        yield { index: 0 };
        await finish.opened;
        yield { index: 1 };
      },
    });
    const client = await nats.client();
    const call = await client.count.submit({});
    const messages = call.messages()[Symbol.asyncIterator]();
    expect((await messages.next()).value).toMatchObject({ index: 0 });
    await purge("TEST_LOG");
    finish.open();
    expect(await codeOf(messages.next())).toBe("DataLoss");
    // Who comes later reads what is there.
    expect((await collect(call)).map(({ index }) => index)).toEqual([0, 1]);
  });

  test("gets the result of a unary call whose log is purged while it runs", async () => {
    const finish = gate();
    const begun = gate();
    await nats.worker({
      do: async () => {
        begun.open();
        await finish.opened;
        return { index: 7 };
      },
    });
    const client = await nats.client();
    const call = await client.do.submit({});
    const result = call.result();
    await begun.opened;
    await until(async () => (await messagesOf("TEST_LOG")) === 1);
    await purge("TEST_LOG");
    finish.open();
    expect(await result).toMatchObject({ index: 7 });
  });

  test("hears FailedPrecondition where there is no JetStream", async () => {
    await using server = await startNats({
      config: `accounts { PLAIN { users: [{ user: plain, password: plain }] } }`,
    });
    const url = server.url.replace("//", "//plain:plain@");
    const connection = await connect({ nats: { servers: url } });
    const client = createClient<TestClient>(TestService, connection);
    const unary: UnaryCall<typeof ResponseSchema> = client.do.attach("x");
    const stream: StreamingCall<typeof ResponseSchema> = client.count.attach("x");
    expect(await codeOf(unary.result())).toBe("FailedPrecondition");
    expect(await codeOf(unary.status())).toBe("FailedPrecondition");
    expect(await codeOf(stream)).toBe("FailedPrecondition");
    expect(await codeOf(stream.messages())).toBe("FailedPrecondition");
    expect(await codeOf(stream.progress())).toBe("FailedPrecondition");
    await connection.close();
  });
});

const passing: Interceptor = (next) => next;

describe("return() ends a next() that waits", () => {
  const intercepted = () => nats.client({ interceptors: [passing] });
  const ways: Record<string, (client: TestClient) => Promise<AsyncIterable<unknown>>> = {
    "call.messages()": async (client) => (await client.count.submit({})).messages(),
    "a call": async (client) => await client.count.submit({}),
    "messages() of an attached call": async (client) =>
      client.count.attach((await client.count.submit({})).id).messages(),
    "progress()": async (client) => (await client.count.submit({})).progress(),
    "a plain durable stream": async (client) => client.count({}),
    "a direct stream": async (client) => client.down({}),
    "streams with interceptors": async () => (await intercepted()).down({}),
    "durable ones with interceptors": async () => (await intercepted()).count({}),
    "submitAll() of requests that do not come": async (client) =>
      client.do.submitAll(
        (async function* () {
          await new Promise(() => undefined);
          yield {};
        })(),
      ),
  };
  test.each(Object.entries(ways))("of %s", async (_, open) => {
    await nats.worker({
      // biome-ignore lint/correctness/useYield: it never answers
      async *down(_request, { signal }) {
        await once(signal, "abort");
      },
    });
    const iterable = await open(await nats.client());
    const iterator = iterable[Symbol.asyncIterator]();
    const next = iterator.next();
    // It waits.
    await delay(200);
    expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
    expect(await next).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test("of dead letters, of a server that says nothing", async () => {
    await using server = await nats.start();
    const connection = await nats.connect({ url: server.url, as: "operator", keep: true });
    const letters = createOperator(connection, TestService).deadLetters()[Symbol.asyncIterator]();
    server.suspend();
    const next = letters.next();
    await letters.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
    server.resume();
    await connection.close();
  });
});

test("a worker is told of a return(), also with interceptors", async () => {
  for (const interceptors of [[], [passing]]) {
    const left = gate();
    const worker = await nats.worker({
      // biome-ignore lint/correctness/useYield: it never answers
      async *down(_request, { signal }) {
        await once(signal, "abort");
        left.open();
      },
    });
    const client = await nats.client({ interceptors });
    const iterator = client.down({})[Symbol.asyncIterator]();
    void iterator.next();
    await delay(200);
    await iterator.return?.();
    await left.opened;
    await worker.drain();
  }
});

describe("a signal ends the wait", () => {
  test("for messages and progress", async () => {
    const client = await nats.client();
    const call = await client.count.submit({});
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = {
      messages: codeOf(call.messages({ signal })),
      progress: codeOf(call.progress({ signal })),
      attached: codeOf(client.count.attach(call.id).messages({ from: 1, signal })),
    };
    await until(() => getEventListeners(signal, "abort").length === 3);
    controller.abort();
    expect(await endOfAll(waiting)).toEqual({
      messages: "Canceled",
      progress: "Canceled",
      attached: "Canceled",
    });
    expect(getEventListeners(signal, "abort")).toEqual([]);
    expect((await call.status()).state).toBe("queued");
  });

  test("for a server that says nothing", async () => {
    await using server = await nats.start();
    const client = await nats.client({ url: server.url });
    const call = await client.do.submit({});
    server.suspend();
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = {
      status: codeOf(call.status({ signal })),
      cancel: codeOf(call.cancel({ signal })),
      submit: codeOf(client.do.submit({}, { signal })),
      "submit of a named call": codeOf(client.do.submit({}, { signal, callId: "named" })),
      result: codeOf(call.result({ signal })),
      plain: codeOf(client.do({}, { signal })),
      "plain stream": codeOf(client.count({}, { signal })),
    };
    controller.abort();
    const ends = await endOfAll(waiting);
    expect(new Set(Object.values(ends))).toEqual(new Set(["Canceled"]));
    expect(getEventListeners(signal, "abort")).toEqual([]);
    server.resume();
  });

  test("and is heeded before anything is sent", async () => {
    const client = await nats.client();
    await client.do.submit({});
    const signal = AbortSignal.abort();
    expect(await codeOf(client.do.submit({}, { signal }))).toBe("Canceled");
    expect(await messagesOf("TEST")).toBe(1);
  });
});

describe("submitAll()", () => {
  test("tells of a call before further requests come", async () => {
    const client = await nats.client();
    let told = gate();
    const requests = async function* () {
      for (let count = 0; count < 3; count++) {
        yield { count };
        await told.opened;
        told = gate();
      }
    };
    const ids: string[] = [];
    for await (const { call } of client.do.submitAll(requests())) {
      ids.push(call?.id ?? "");
      told.open();
    }
    expect(new Set(ids).size).toBe(3);
  });

  test("tells of all calls before the error of what gives the requests", async () => {
    const client = await nats.client();
    const requests = function* () {
      yield {};
      yield {};
      throw new Error("the file ends in the middle");
    };
    const calls: unknown[] = [];
    const reading = (async () => {
      for await (const { call } of client.do.submitAll(requests())) {
        calls.push(call);
      }
    })();
    await expect(reading).rejects.toThrow("the file ends in the middle");
    expect(calls).toHaveLength(2);
  });
});

describe("a server that says nothing", () => {
  test.each(["silent", "lost"])(
    "keeps no process from draining, closing and ending (%s)",
    async (how) => {
      await using server = await nats.start();
      const child = start("silent-server-process.mjs", nats.environment("root", server.url), how);
      await child.says("running");
      const exit = once(child.child, "exit");
      server.suspend();
      child.write("stop");
      await child.says("drained");
      await child.says("closed");
      expect(await exit).toEqual([0, null]);
      server.resume();
    },
  );
});

describe("where no worker serves a method", () => {
  test("status() of a call that waits tells so, and how many there are", async () => {
    const client = await nats.client();
    const call = await client.do.submit({});
    expect(await call.status()).toMatchObject({ state: "queued", workers: 0 });
    await nats.worker({ count: async function* () {} });
    await delay(1_100);
    expect(await call.status()).toMatchObject({ state: "queued", workers: 0 });
  });

  test("onWaiting tells whoever waits", async () => {
    const told: object[] = [];
    const client = await nats.client({ onWaiting: (call) => told.push(call) });
    const call = await client.do.submit({});
    const result = call.result();
    await until(() => told.length > 0);
    expect(told).toEqual([
      {
        method: "test.v1.TestService.Do",
        callId: call.id,
        waitedMs: expect.any(Number),
        message: "no worker serves test.v1.TestService.Do: start one that implements it",
      },
    ]);
    await nats.worker({ do: () => ({}) });
    await result;
  });

  test("queues() tells so", async () => {
    const client = await nats.client();
    await client.do.submit({});
    await nats.worker({ count: async function* () {} });
    await nats.worker({ count: async function* () {} });
    const operator = createOperator(await nats.connect({ as: "operator" }), TestService);
    // On a busy machine some worker may answer too late.
    await expect
      .poll(async () => {
        const queues = await operator.queues();
        return Object.fromEntries(queues.map(({ method, workers }) => [method, workers]));
      })
      .toMatchObject({ Do: 0, Count: 2 });
  });
});

describe("what has ended leaves nothing behind", () => {
  /** What a signal keeps of signals made of it by AbortSignal.any(). */
  function dependants(signal: AbortSignal): number {
    const key = Object.getOwnPropertySymbols(signal).find((symbol) =>
      String(symbol).includes("Dependant"),
    );
    return (key && (signal as unknown as Record<symbol, { size: number }>)[key]?.size) ?? 0;
  }

  test("at a signal that lives long", async () => {
    await nats.worker({
      get: () => ({}),
      do: () => ({}),
      async *down() {
        yield {};
        yield {};
      },
      async *count() {
        yield {};
        yield {};
      },
    });
    const client = await nats.client();
    const { signal } = new AbortController();
    for (let i = 0; i < 5; i++) {
      await client.get({}, { signal });
      await client.do({}, { signal });
      await collect(client.down({}, { signal }));
      await collect(client.count({}, { signal }));
      for await (const _ of client.down({}, { signal })) {
        break;
      }
      for await (const _ of client.count({}, { signal })) {
        break;
      }
      const call = await client.count.submit({}, { signal });
      await collect(call.messages({ signal }));
      await collect(call.progress({ signal }));
      await call.status({ signal });
      await call.cancel({ signal });
    }
    expect(getEventListeners(signal, "abort")).toEqual([]);
    expect(dependants(signal)).toBe(0);
  });
});

describe("memory", () => {
  test("followers of one call share one reading of its log, and one subscription", async () => {
    const count = 500;
    await nats.worker({
      async *count() {
        for (let index = 0; index < count; index++) {
          yield { index };
        }
      },
    });
    const client = await nats.client();
    const call = await client.count.submit({}, { callId: "popular" });
    await collect(call);
    const { nats: root } = await nats.connect();
    let consumers = 0;
    root.subscribe("$JS.API.CONSUMER.CREATE.TEST_LOG.>", {
      callback: () => {
        consumers++;
      },
    });
    await root.flush();
    const expected = Array.from({ length: count }, (_, index) => index);
    const followers = Array.from({ length: 50 }, () =>
      collect(client.count.attach("popular").messages()),
    );
    for (const messages of await Promise.all(followers)) {
      expect(messages.map(({ index }) => index)).toEqual(expected);
    }
    await root.flush();
    expect(consumers).toBeLessThan(5);
  });

  test("a reader that sleeps holds a bounded number of messages, however small", async () => {
    const count = 13_000;
    const written = gate();
    await nats.worker({
      async *count() {
        for (let index = 0; index < count; index++) {
          yield { index };
        }
        written.open();
      },
    });
    const client = await nats.client();
    const { nats: root } = await nats.connect();
    const call = await client.count.submit({});
    const messages = call.messages()[Symbol.asyncIterator]();
    await messages.next();
    await written.opened;
    // All of it is stored, and was heard.
    expect(await codeOf(call.progress())).toBe("no error");
    const message = await root.request("$JS.API.INFO");
    const held = queryObjects(message.constructor, { format: "count" }) as unknown as number;
    // 8 MiB of them, each counted with 1 KiB, and a page of the log.
    expect(held).toBeLessThan(10_000);
    for (let index = 1; index < count; index++) {
      expect((await messages.next()).value?.index).toBe(index);
    }
    expect((await messages.next()).done).toBe(true);
  }, 600_000);
});
