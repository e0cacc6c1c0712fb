import type { CallOptions, HandlerContext } from "@connectrpc/connect";
import { Code, ConnectError, createClient, mayHaveRun, permanent } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { internalsOf } from "../src/connection.js";
import { publishStored } from "../src/link/jetstream.js";
import { isPermanent } from "../src/message/error-marks.js";
import { HeaderBlock } from "../src/message/header.js";
import { metadataLimit } from "../src/message/metadata-limit.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, failureOf, gate, type TestClient, until, useNats } from "./support.js";

const nats = useNats();

async function letters() {
  const operator = createOperator(await nats.connect({ as: "operator" }), TestService);
  return await collect(operator.deadLetters());
}

async function* one() {
  yield {};
}

/** A connection as the runtime itself has it. */
type Internal = import("../src/connection.js").Connection;

/** A header that is metadata of so many bytes. */
function metadataOf(bytes: number): { "x-large": string } {
  return { "x-large": "x".repeat(bytes - "x-large: \r\n".length) };
}

const limit = 32 * 1024;

describe("metadata of a request", () => {
  /** Every way to make a call. */
  const ways: [
    string,
    (client: TestClient, headers: Record<string, string>) => Promise<unknown>,
  ][] = [
    ["a direct call", (client, headers) => client.get({}, { headers })],
    ["a direct stream", (client, headers) => collect(client.down({}, { headers }))],
    ["a stream of requests", (client, headers) => client.up(one(), { headers })],
    ["a durable call", (client, headers) => client.do({}, { headers })],
    ["a durable stream", (client, headers) => collect(client.count({}, { headers }))],
    ["submit()", (client, headers) => client.do.submit({}, { headers })],
    ["submit() with an id", (client, headers) => client.do.submit({}, { headers, callId: "c" })],
    [
      "submit() for later",
      (client, headers) => client.do.submit({}, { headers, notBefore: new Date() }),
    ],
    [
      "submitAll()",
      async (client, headers) => {
        for await (const { error } of client.do.submitAll([{}], () => ({ headers }))) {
          throw error;
        }
      },
    ],
  ];

  test.each(ways)("that is too much is refused at once by %s", async (_way, run) => {
    const client = await nats.client();
    for (const bytes of [limit + 1, 70_000, 2_000_000]) {
      const error = await failureOf(run(client, metadataOf(bytes)));
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(error.rawMessage).toContain(`has ${bytes} bytes, and may have ${limit}`);
      expect(mayHaveRun(error)).toBe(false);
    }
  });

  test.each(ways)("that is impossible is refused at once by %s", async (_way, run) => {
    const client = await nats.client();
    for (const headers of [{ "x-line": "a\r\nb" }, { "x y": "z" }]) {
      expect(await failureOf(run(client, headers as Record<string, string>))).toMatchObject({
        code: Code.InvalidArgument,
        rawMessage: expect.stringContaining("impossible headers"),
      });
    }
  });

  test("of the largest size arrives, and fits wherever the call comes to", async () => {
    const seen: number[] = [];
    const ofError = metadataOf(limit - 100);
    let mayEnd = false;
    const see = (headers: Headers) => {
      seen.push(headers.get("x-large")?.length ?? 0);
    };
    await nats.worker({
      get: (_request, { requestHeader }) => {
        see(requestHeader);
        return {};
      },
      do: (_request, { requestHeader }) => {
        see(requestHeader);
        if (mayEnd) {
          return {};
        }
        throw new ConnectError("e".repeat(1_100_000), Code.NotFound, ofError);
      },
    });
    const client = await nats.client();
    const headers = metadataOf(limit);
    await client.get({}, { headers });
    const call = await client.do.submit({}, { headers, callId: "i".repeat(128) });
    const error = await failureOf(call.result());
    expect(error.metadata.get("x-large")).toBe(ofError["x-large"]);
    await until(async () => (await letters()).length === 1);
    const [letter] = await letters();
    expect(letter?.requestHeader.get("x-large")).toBe(headers["x-large"]);
    expect(letter?.error).toMatchObject({
      code: Code.NotFound,
      rawMessage: expect.stringMatching(/^e+ \(left out: .* of text.*, 1 of 1 headers, /),
    });
    mayEnd = true;
    await letter?.replay();
    await client.do.attach("i".repeat(128)).result();
    expect(new Set(seen)).toEqual(new Set([headers["x-large"].length]));
  });

  test("of the largest size does not keep a call from being canceled", async () => {
    const client = await nats.client();
    const options = { headers: metadataOf(limit), callId: "c" };
    const queued = await client.do.submit({ data: new Uint8Array(1_048_576 - 37_000) }, options);
    expect(await queued.cancel()).toBe(true);
    const notBefore = new Date(Date.now() + 3_600_000);
    const later = await client.do.submit({}, { ...options, callId: "d", notBefore });
    expect(await later.cancel()).toBe(true);
    for (const call of [queued, later]) {
      expect((await failureOf(call.result())).code).toBe(Code.Canceled);
    }
  });

  test("may have names that begin with trailer-", async () => {
    const seen: (string | null)[] = [];
    let isMended = false;
    const handler = (_request: unknown, { requestHeader }: { requestHeader: Headers }) => {
      seen.push(requestHeader.get("trailer-x"));
      return {};
    };
    await nats.worker({
      get: handler,
      async *down(request, context) {
        yield handler(request, context);
      },
      do: (request, context) => {
        handler(request, context);
        if (isMended) {
          return {};
        }
        throw new ConnectError("no", Code.NotFound, { x: "of the error", "trailer-x": "too" });
      },
    });
    const client = await nats.client();
    const headers = { "trailer-x": "of the request" };
    await client.get({}, { headers });
    await collect(client.down({}, { headers }));
    const call = await client.do.submit({}, { headers, callId: "t" });
    const error = await failureOf(call.result());
    await until(async () => (await letters()).length === 1);
    const [letter] = await letters();
    for (const { metadata } of [error, letter?.error as ConnectError]) {
      expect([...metadata]).toEqual([
        ["trailer-x", "too"],
        ["x", "of the error"],
      ]);
    }
    expect([...(letter?.requestHeader ?? [])]).toEqual([["trailer-x", "of the request"]]);
    isMended = true;
    await letter?.replay();
    await client.do.attach("t").result();
    expect(seen).toEqual(Array(4).fill("of the request"));
  });
});

describe("metadata of a response", () => {
  const parts = ["responseHeader", "responseTrailer"] as const;

  test.each(parts)("that is too much in %s ends the call at once, once", async (part) => {
    const runs: string[] = [];
    const set = (context: { responseHeader: Headers; responseTrailer: Headers }, run: string) => {
      runs.push(run);
      context[part].set("x-large", metadataOf(70_000)["x-large"]);
      return {};
    };
    await nats.worker({
      get: (_request, context) => set(context, "get"),
      two: async (_request, context) => set(context, "two"),
      async *down(_request, context) {
        yield set(context, "down");
      },
      up: async (_requests, context) => set(context, "up"),
      do: (_request, context) => set(context, "do"),
      async *count(_request, context) {
        yield set(context, "count");
      },
      // biome-ignore lint/correctness/useYield: it ends without a message
      async *resume(_request, context) {
        set(context, "resume");
      },
    });
    const client = await nats.client();
    for (const run of [
      () => client.get({}),
      () => client.two({}),
      () => collect(client.down({})),
      () => client.up(one()),
      () => client.do({}),
      () => collect(client.count({})),
      () => collect(client.resume({})),
    ]) {
      const error = await failureOf(run());
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(error.rawMessage).toMatch(
        /^the metadata of the response of .* may have 32768: put what is large into the message$/,
      );
    }
    expect(runs).toEqual(["get", "two", "down", "up", "do", "count", "resume"]);
  });

  test("that is too much beside an error is left out, and the text says so", async () => {
    await nats.worker({
      // biome-ignore lint/correctness/useYield: it fails
      async *down(_request, { responseHeader, responseTrailer }) {
        responseHeader.set("x-large", "x".repeat(2_000_000));
        responseTrailer.set("x-large", "x".repeat(2_000_000));
        responseTrailer.set("x-small", "fits");
        throw new ConnectError("mine", Code.NotFound, { "x-mine": "fits as well" });
      },
    });
    const error = await failureOf(collect((await nats.client()).down({})));
    expect(error).toMatchObject({
      code: Code.NotFound,
      rawMessage: "mine (left out: 1 of 3 headers, for their size)",
    });
    expect([...error.metadata.keys()]).toEqual(["x-mine", "x-small"]);
  });

  test("that is too much does not keep a worker from stopping a stream", async () => {
    const begun = gate();
    const worker = await nats.worker(
      {
        async *down(_request, { responseHeader, responseTrailer }) {
          responseHeader.set("x-large", "x".repeat(2_000_000));
          responseTrailer.set("x-large", "x".repeat(2_000_000));
          begun.open();
          await new Promise(() => undefined);
          yield {};
        },
      },
      { drainTimeoutMs: 10 },
    );
    const failure = failureOf(collect((await nats.client()).down({})));
    await begun.opened;
    await worker.drain();
    expect((await failure).code).toBe(Code.Unavailable);
  });

  test("may have names that begin with trailer-, in each part", async () => {
    const set = ({ responseHeader, responseTrailer }: HandlerContext) => {
      responseHeader.set("trailer-x", "header");
      responseHeader.set("x", "header, too");
      responseTrailer.set("trailer-x", "trailer");
      return {};
    };
    await nats.worker({
      get: (_request, context) => set(context),
      async *down(_request, context) {
        yield set(context);
      },
      up: async (_requests, context) => set(context),
      do: (_request, context) => set(context),
      async *count(_request, context) {
        yield set(context);
      },
    });
    const client = await nats.client();
    for (const run of [
      (options: CallOptions) => client.get({}, options),
      (options: CallOptions) => collect(client.down({}, options)),
      (options: CallOptions) => client.up(one(), options),
      (options: CallOptions) => client.do({}, options),
      (options: CallOptions) => collect(client.count({}, options)),
    ]) {
      const seen: [string, string][][] = [];
      await run({
        onHeader: (header) => seen.push([...header]),
        onTrailer: (trailer) => seen.push([...trailer]),
      });
      expect(seen).toEqual([
        [
          ["trailer-x", "header"],
          ["x", "header, too"],
        ],
        [["trailer-x", "trailer"]],
      ]);
    }
  });

  test("reaches the caller with an error, and so a dead letter", async () => {
    const fail = ({ responseHeader, responseTrailer }: HandlerContext) => {
      responseHeader.set("x", "header");
      responseTrailer.set("x", "trailer");
      throw new ConnectError("no", Code.NotFound, { x: "error", y: "error" });
    };
    await nats.worker({
      get: (_request, context) => fail(context),
      async *down(_request, context) {
        yield fail(context);
      },
      // biome-ignore lint/correctness/useYield: it fails
      async *chat(_requests, context) {
        fail(context);
      },
      do: (_request, context) => fail(context),
      async *count(_request, context) {
        yield fail(context);
      },
      async *resume(_request, context) {
        context.responseHeader.set("x", "header");
        yield {};
        fail(context);
      },
    });
    const client = await nats.client();
    const submitted = await client.do.submit({}, { callId: "later" });
    for (const run of [
      () => client.get({}),
      () => collect(client.down({})),
      () => collect(client.chat(one())),
      () => client.do({}),
      () => submitted.result(),
      () => client.do.attach("later").result(),
      () => collect(client.count({})),
      () => collect(client.resume({})),
    ]) {
      const { metadata } = await failureOf(run());
      expect(metadata.get("x")?.split(", ").sort()).toEqual(["error", "header", "trailer"]);
      expect(metadata.get("y")).toBe("error");
    }
    await until(async () => (await letters()).length === 4);
    for (const { error, method } of await letters()) {
      const x = error.metadata.get("x")?.split(", ").sort();
      // Where the header is stored with a message, the dead letter has it not.
      expect(x).toEqual(
        method === "Resume" ? ["error", "trailer"] : ["error", "header", "trailer"],
      );
    }
  });

  test("of the largest size arrives", async () => {
    const half = metadataOf(limit / 2 - 20)["x-large"];
    const set = (context: { responseHeader: Headers; responseTrailer: Headers }) => {
      context.responseHeader.set("x-head", half);
      context.responseTrailer.set("x-tail", half);
      return {};
    };
    await nats.worker({
      get: (_request, context) => set(context),
      do: (_request, context) => set(context),
      async *count(_request, context) {
        yield set(context);
      },
    });
    const client = await nats.client();
    for (const run of [client.get, client.do]) {
      const seen: (number | undefined)[] = [];
      await run(
        {},
        {
          onHeader: (header) => seen.push(header.get("x-head")?.length),
          onTrailer: (trailer) => seen.push(trailer.get("x-tail")?.length),
        },
      );
      expect(seen).toEqual([half.length, half.length]);
    }
    expect(await collect(client.count({}))).toHaveLength(1);
  });
});

test("a header block that JetStream refuses is refused for good", async () => {
  await nats.worker({ do: () => ({}) });
  const { link } = internalsOf((await nats.connect()) as unknown as Internal);
  const headers = new HeaderBlock().add("x-large", "x".repeat(70_000));
  const subject = "test.v1.TestService.dead.Do._._.large";
  const error = await failureOf(publishStored(link, subject, new Uint8Array(0), headers));
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.rawMessage).toContain("10097");
  expect(isPermanent(error)).toBe(true);
  expect(isPermanent(permanent(new ConnectError("x")))).toBe(true);
});

describe("where max_payload is 16 KiB", () => {
  let server: Awaited<ReturnType<typeof nats.start>>;
  beforeAll(async () => {
    server = await nats.start({ maxPayload: 16_384 });
  });
  afterAll(() => server.stop());

  test("everything that fails is told, and buried", async () => {
    const large = "x".repeat(40_000);
    let attempts = 0;
    const fail = () => {
      attempts++;
      throw new ConnectError(large, Code.NotFound, { "x-large": large, "x-small": "fits" });
    };
    const { url } = server;
    await nats.worker(
      {
        get: fail,
        async *down() {
          yield fail();
        },
        do: async (_request, context) => {
          context.progress({ done: 1, message: large });
          context.progress({ done: 2, message: large });
          return fail();
        },
        count: (_request, { responseHeader }) => {
          responseHeader.set("x-large", "x".repeat(6_000));
          return (async function* () {
            yield {};
          })();
        },
      },
      { url },
    );
    const client = createClient<TestClient>(TestService, await nats.connect({ url, as: "client" }));
    const largest = { headers: metadataOf(metadataLimit(16_384)), callId: "i".repeat(128) };
    for (const run of [
      () => client.get({}, { headers: largest.headers }),
      () => collect(client.down({}, { headers: largest.headers })),
      () => client.do({ text: large }, { headers: largest.headers }),
      async () => (await client.do.submit({ text: large }, largest)).result(),
    ]) {
      const error = await failureOf(run());
      expect(error.code).toBe(Code.NotFound);
      expect(error.rawMessage).toMatch(/^x+ \(left out: .*of 40000 bytes of text.*1 of 2 headers/);
      expect(error.metadata.get("x-small")).toBe("fits");
    }
    expect(attempts).toBe(4);
    expect((await failureOf(collect(client.count({})))).code).toBe(Code.ResourceExhausted);
    const refused = await failureOf(client.get({}, { headers: metadataOf(4097) }));
    expect(refused.rawMessage).toContain("4097 bytes, and may have 4096");
    const operator = createOperator(await nats.connect({ url, as: "operator" }), TestService);
    await until(async () => (await collect(operator.deadLetters())).length === 3);
    for (const letter of await collect(operator.deadLetters({ method: "Do" }))) {
      expect(letter.error.code).toBe(Code.NotFound);
      expect(letter.requestHeader.get("x-large")).toBe(largest.headers["x-large"]);
      expect(await letter.request()).toMatchObject({ text: large });
    }
    const root = await nats.connect({ url });
    const stats = await root.nats.request("$SRV.STATS");
    expect(stats.data.length).toBeGreaterThan(0);
  });
});
