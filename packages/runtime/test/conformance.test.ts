import { create, toBinary } from "@bufbuild/protobuf";
import {
  ConnectError,
  type Connection,
  createClient,
  startWorker,
  type Worker,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Case,
  cases,
  type Metadata,
  type Plan,
  streamsRequests,
  streamsResponses,
} from "./conformance-cases.js";
import { readTable } from "./docs-table.js";
import { type Request, RequestSchema, ResponseSchema, TestService } from "./gen/test/v1/test_pb.js";
import { gate, type TestClient, type TestImpl } from "./support.js";

/** Most bytes of a request that the worker takes. */
const readMaxBytes = 20_000;

let server: NatsServer;
let worker: Worker;
const connections: Connection[] = [];
let client: TestClient;

/** What the handlers of the case that runs tell of themselves. */
let waiting = gate();
/** Lets the handler go that waits although its call has ended for its caller. */
let dismissed = gate();

/** The part of a context that these handlers use. */
type Context = Parameters<NonNullable<TestImpl["up"]>>[1];

function setAll(metadata: Metadata | undefined, on: Headers): void {
  for (const [name, ...values] of metadata ?? []) {
    for (const value of values) {
      on.append(name, value);
    }
  }
}

/** What a handler saw of its call, told by each response and by each error. */
function seen(context: Context, requests: number): string {
  const asked = context.requestHeader.get("x-conformance-test");
  return JSON.stringify({ asked, timeoutMs: context.timeoutMs() ?? null, requests });
}

/** Does what a plan says; `count` tells how many requests have come. */
async function* perform(plan: Plan, context: Context, count: () => number) {
  setAll(plan.header, context.responseHeader);
  setAll(plan.trailer, context.responseTrailer);
  const wait = async (index: number) => {
    if (index === plan.waitsAfter) {
      const stopped = new Promise<void>((resolve) => {
        context.signal.addEventListener("abort", () => resolve());
      });
      waiting.open();
      await Promise.race([stopped, dismissed.opened]);
    }
  };
  const { data = [], error } = plan;
  for (const [index, text] of data.entries()) {
    await wait(index);
    yield { text, index, data: Buffer.from(seen(context, count())) };
  }
  await wait(data.length);
  if (error) {
    const value = { text: seen(context, count()) };
    throw new ConnectError(error.message, error.code, undefined, [{ desc: ResponseSchema, value }]);
  }
}

function planOf({ text }: Request): Plan {
  return text ? JSON.parse(text) : {};
}

const isFull = 1;

const respondAll = (request: Request, context: Context) =>
  perform(planOf(request), context, () => 1);

const respondOne = async (request: Request, context: Context) => {
  for await (const response of respondAll(request, context)) {
    return response;
  }
  return {};
};

const impl: TestImpl = {
  get: respondOne,
  do: respondOne,
  down: respondAll,
  count: respondAll,
  async up(requests, context) {
    const all: Request[] = [];
    for await (const request of requests) {
      all.push(request);
    }
    for await (const response of perform(planOf(all[0] as Request), context, () => all.length)) {
      return response;
    }
    return {};
  },
  async *chat(requests, context) {
    let count = 0;
    let responses: ReturnType<typeof perform> | undefined;
    for await (const request of requests) {
      count++;
      responses ??= perform(planOf(request), context, () => count);
      if (request.count === isFull) {
        const next = await responses.next();
        if (!next.done) {
          yield next.value;
        }
      }
    }
    if (responses) {
      yield* responses;
    }
  },
};

beforeAll(async () => {
  server = await startNats();
  const open = async () => {
    const connection = await connect({ nats: { servers: server.url } });
    connections.push(connection);
    return connection;
  };
  worker = await startWorker(TestService, impl, await open(), {
    readMaxBytes,
    answerUnimplemented: true,
    drainTimeoutMs: 1_000,
  });
  client = createClient<TestClient>(TestService, await open());
});

afterAll(async () => {
  await worker.drain();
  await Promise.all(connections.map((connection) => connection.close()));
  await server.stop();
});

/** What a caller saw of a call. */
interface Seen {
  readonly responses: { text: string; index: number; data: Uint8Array }[];
  header?: Headers;
  trailer?: Headers;
  error?: ConnectError;
}

/** The requests of a case. */
function requestsOf({ plan, requests, above, kind }: Case): Request[] {
  return Array.from({ length: requests }, (_, index) => {
    const request = create(RequestSchema, {
      ...(index === 0 && Object.keys(plan).length > 0 && { text: JSON.stringify(plan) }),
      ...(kind === "bidi-stream/full-duplex" && { count: isFull }),
    });
    const bytes = above?.[index];
    if (bytes !== undefined) {
      const size = toBinary(RequestSchema, request).length;
      // A field of more than 127 bytes has four bytes before it.
      request.data = new Uint8Array(readMaxBytes + bytes - size - 4);
      expect(toBinary(RequestSchema, request)).toHaveLength(readMaxBytes + bytes);
    }
    return request;
  });
}

/** Makes the call of a case, and tells what its caller sees of it. */
async function call(each: Case, delivery: "direct" | "durable"): Promise<Seen> {
  const isDurable = delivery === "durable";
  const cancel = new AbortController();
  const result: Seen = { responses: [] };
  const headers = new Headers();
  setAll(each.header, headers);
  const options = {
    headers,
    signal: cancel.signal,
    ...(each.timeoutMs && { timeoutMs: each.timeoutMs }),
    onHeader: (header: Headers) => {
      result.header = header;
    },
    onTrailer: (trailer: Headers) => {
      result.trailer = trailer;
    },
  };
  waiting = gate();
  dismissed = gate();
  if (each.cancels === "while the handler works") {
    void waiting.opened.then(() => cancel.abort());
  }
  const all = requestsOf(each);
  const [first = create(RequestSchema)] = all;
  const arrivals = all.map(() => gate());
  async function* requests() {
    for (const [index, request] of all.entries()) {
      yield request;
      if (each.kind === "bidi-stream/full-duplex" && (each.plan.data ?? []).length > index) {
        await arrivals[index]?.opened;
      }
    }
    if (each.cancels === "before its half is closed") {
      cancel.abort();
      await new Promise(() => undefined);
    }
  }
  const take = async (responses: AsyncIterable<Seen["responses"][number]>) => {
    for await (const response of responses) {
      arrivals[result.responses.length]?.open();
      result.responses.push(response);
      if (each.cancels === "after a response") {
        cancel.abort();
      }
    }
  };
  try {
    if (each.name === "unimplemented") {
      await (isDurable ? client.global : client.slow)(first, options);
    } else if (each.kind === "unary") {
      result.responses.push(await (isDurable ? client.do : client.get)(first, options));
    } else if (each.kind === "client-stream") {
      result.responses.push(await client.up(requests(), options));
    } else if (each.kind === "server-stream") {
      await take((isDurable ? client.count : client.down)(first, options));
    } else {
      await take(client.chat(requests(), options));
    }
  } catch (error) {
    result.error = error as ConnectError;
  } finally {
    dismissed.open();
  }
  return result;
}

function expectMetadata(metadata: Metadata | undefined, headers: Headers | undefined): void {
  for (const [name, ...values] of metadata ?? []) {
    expect(headers?.get(name)).toBe(values.join(", "));
  }
}

/** Checks what a handler saw. */
function expectSeen(each: Case, text: string, requests: number): void {
  const { asked, timeoutMs, ...rest } = JSON.parse(text);
  expect(rest).toEqual({ requests });
  expect(asked).toBe(each.header ? "Value1, Value2" : null);
  if (each.timeoutMs === undefined) {
    expect(timeoutMs).toBeNull();
  } else {
    expect(timeoutMs).toBeGreaterThan(0);
    expect(timeoutMs).toBeLessThanOrEqual(each.timeoutMs);
  }
}

/** Checks what the caller saw against what the case says. */
function expectConforming(each: Case, result: Seen): void {
  const { plan, kind, ends, requests } = each;
  const data = plan.data ?? [];
  const inAll = (index: number) =>
    kind === "bidi-stream/full-duplex" ? Math.min(index + 1, requests) : requests;
  if (plan.error) {
    expect(result.error).toBeInstanceOf(ConnectError);
    expect(result.error).toMatchObject({ code: plan.error.code, rawMessage: plan.error.message });
    // As in Connect, an error has all metadata of the response.
    expectMetadata(plan.header, result.error?.metadata);
    expectMetadata(plan.trailer, result.error?.metadata);
    const [detail] = result.error?.findDetails(ResponseSchema) ?? [];
    expectSeen(each, detail?.text ?? "", requests);
  } else {
    expect(result.error?.code).toBe(ends);
  }
  if (!ends && (!plan.error || streamsResponses(kind))) {
    expectMetadata(plan.header, result.header);
  }
  if (!ends && !plan.error) {
    expectMetadata(plan.trailer, result.trailer);
  }
  const isEmpty = data.length === 0 && !plan.error && !ends && !streamsResponses(kind);
  const arrive = isEmpty ? 1 : (each.arrive ?? data.length);
  expect(result.responses).toHaveLength(arrive);
  for (const [index, response] of result.responses.entries()) {
    expect(response.text).toBe(data[index] ?? "");
    if (!isEmpty) {
      expectSeen(each, Buffer.from(response.data).toString(), inAll(index));
    }
  }
}

const direct = cases.map((each) => [each.suite, each.name, each] as const);
const durable = direct.filter(([, , { kind }]) => !streamsRequests(kind));

test.each(direct)("%s: %s is so of a direct call", async (_suite, _name, each) => {
  expectConforming(each, await call(each, "direct"));
});

test.each(durable)("%s: %s is so of a durable call", async (_suite, _name, each) => {
  expectConforming(each, await call(each, "durable"));
});

describe("the page on conformance", () => {
  const table = readTable("conformance.md", "Suites");
  const count = (all: typeof direct, suite: string) =>
    all.filter(([each]) => each === suite).length;

  test("has each suite once", () => {
    const suites = table.map((row) => row["suite"]);
    expect(suites).toEqual([...new Set(suites)].sort());
    expect(
      [...new Set(cases.map(({ suite }) => `\`${suite}\``))].filter(
        (each) => !suites.includes(each),
      ),
    ).toEqual([]);
  });

  test.each(table.map((row) => [row["suite"] ?? "", row] as const))(
    "tells of %s how many cases are run, and why others are not",
    (suite, row) => {
      const name = suite.replaceAll("`", "");
      const [inAll, run, durably] = [row["cases"], row["direct"], row["durable"]].map(Number);
      expect([run, durably]).toEqual([count(direct, name), count(durable, name)]);
      expect((inAll ?? 0) > (run ?? 0)).toBe(row["why the others are not"] !== "");
    },
  );

  test("has no case twice", () => {
    const names = cases.map(({ suite, name }) => `${suite}: ${name}`);
    expect(names.length).toBe(new Set(names).size);
  });
});
