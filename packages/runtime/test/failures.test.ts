import { createRequire } from "node:module";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, permanent, retryAfter } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { type Msg, MsgHdrsImpl } from "@nats-io/nats-core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../../test/property-runs.js";
import { isRetried, retryDelayOf } from "../src/message/error-marks.js";
import { type HeaderBlock, headerSize } from "../src/message/header.js";
import { metadataLimit } from "../src/message/metadata-limit.js";
import { decodeStatus, encodeStatus } from "../src/message/status.js";
import { codeName } from "../src/schema/code-name.js";
import { toCallerError } from "../src/worker/caller-error.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, failureOf, gate, until, useNats } from "./support.js";
import { type Thrown, thrown } from "./thrown.js";

const nats = useNats();

const text1M = "x".repeat(1_100_000);

/** Fails at once, in the way of a handler that is not async. */
function raise(what: unknown): never {
  throw what;
}

/** The one of {@link thrown} that a request means. */
function meant(index: string): Thrown {
  return thrown[Number(index)] as Thrown;
}

function received(headers: HeaderBlock, data: Uint8Array): Msg {
  return { headers: MsgHdrsImpl.decode(headers.encode()), data } as unknown as Msg;
}

async function letters() {
  const operator = createOperator(await nats.connect({ as: "operator" }), TestService);
  return await collect(operator.deadLetters());
}

/** Waits until no request is queued any more. */
async function untilQueueIsEmpty(): Promise<void> {
  const root = await nats.connect();
  await until(async () => {
    const info = await root.nats.request("$JS.API.STREAM.INFO.TEST");
    return (info.json() as { state: { messages: number } }).state.messages === 0;
  });
}

describe("what was thrown", () => {
  test.each(thrown)("$what becomes an error that fits", ({ make, code, text }) => {
    for (const reveal of [false, true]) {
      const error = toCallerError(make(), reveal);
      for (const maxBytes of [1024, 4096, 65_536, 1_048_576]) {
        for (const encoding of ["binary", "json"] as const) {
          const { headers, payload } = encodeStatus(error, { maxBytes, encoding });
          expect(headerSize(headers) + payload.length).toBeLessThanOrEqual(maxBytes);
          expect(headerSize(headers)).toBeLessThan(40_000);
          if (encoding === "json") {
            expect(JSON.parse(new TextDecoder().decode(payload)).code).toBe(codeName(code));
          } else {
            expect(decodeStatus(received(headers, payload)).code).toBe(code);
          }
        }
      }
      const { headers, payload } = encodeStatus(error, { maxBytes: 1_048_576 });
      if (!reveal) {
        expect(decodeStatus(received(headers, payload)).rawMessage).toMatch(text);
      }
    }
  });

  test("fits whatever its sizes are, and keeps what fits", () => {
    const size = fc.oneof(fc.nat(100), fc.nat(5000), fc.nat(100_000));
    fc.assert(
      fc.property(
        fc.integer({ min: 768, max: 200_000 }),
        size,
        fc.array(size, { maxLength: 5 }),
        fc.array(size, { maxLength: 5 }),
        fc.constantFrom("x", "€", "\0", "\ud800"),
        (maxBytes, textSize, detailSizes, headerSizes, sign) => {
          const error = new ConnectError(
            sign.repeat(textSize),
            Code.Aborted,
            new Headers(headerSizes.map((length, i) => [`x-${i}`, "v".repeat(length)])),
            detailSizes.map((length) => ({
              desc: StringValueSchema,
              value: { value: "d".repeat(length) },
            })),
          );
          const { headers, payload } = encodeStatus(error, { maxBytes });
          expect(headerSize(headers) + payload.length).toBeLessThanOrEqual(maxBytes);
          const decoded = decodeStatus(received(headers, payload));
          const isWhole = !decoded.rawMessage.includes("(left out: ");
          if (isWhole) {
            expect(decoded.details).toHaveLength(detailSizes.length);
            expect([...decoded.metadata]).toHaveLength(headerSizes.length);
          }
          const sum = (sizes: number[]) => sizes.reduce((a, b) => a + b, 0);
          const metadata = sum(headerSizes) + headerSizes.length * 20;
          if (
            metadata <= metadataLimit(maxBytes) &&
            metadata + textSize * 3 + sum(detailSizes) + 2_000 <= maxBytes
          ) {
            expect(isWhole).toBe(true);
          }
        },
      ),
      // Metadata of the most bytes, beside a text that fills its line.
      { ...runs(300), examples: [[3792, 158, [], [0, 906], "\ud800"]] },
    );
  });
});

describe("the marks of an error", () => {
  test.each([
    [0, 0],
    [1234.5678901234, 1235],
    [Number.MIN_VALUE, 1],
    [1e300, 100 * 365 * 24 * 3_600_000],
  ])("retryAfter(%d) waits %d ms", (delayMs, expected) => {
    expect(retryDelayOf(retryAfter(new ConnectError("x"), delayMs))).toBe(expected);
  });

  test.each([Number.POSITIVE_INFINITY, Number.NaN, -1, "5" as never, 5n as never])(
    "retryAfter(%s) is InvalidArgument",
    (delayMs) => {
      expect(() => retryAfter(new ConnectError("x"), delayMs)).toThrow(
        expect.objectContaining({ code: Code.InvalidArgument }),
      );
    },
  );

  test("can be set again, and on an error that is frozen", () => {
    const error = retryAfter(new ConnectError("x", Code.NotFound), 10);
    expect(retryDelayOf(retryAfter(error, 20))).toBe(20);
    const frozen = Object.freeze(retryAfter(new ConnectError("x", Code.Unavailable), 10));
    expect(isRetried(permanent(frozen), new Set([Code.Unavailable]))).toBe(false);
    expect(permanent(frozen)).toMatchObject({ rawMessage: "x", code: Code.Unavailable });
  });

  test("are seen by another copy of the package", async () => {
    const copy = createRequire(import.meta.url)("@jetrpc/runtime") as {
      permanent: typeof permanent;
      retryAfter: typeof retryAfter;
    };
    expect(copy.permanent).not.toBe(permanent);
    const attempts: string[] = [];
    await nats.worker({
      do: ({ text }, { attempt }) => {
        attempts.push(`${text} ${attempt}`);
        throw text === "final"
          ? copy.permanent(new ConnectError(text, Code.Unavailable))
          : copy.retryAfter(new ConnectError(text, Code.NotFound), 1);
      },
    });
    const client = await nats.client();
    await failureOf(client.do({ text: "final" }));
    await failureOf(client.do({ text: "passing" }));
    expect(attempts).toEqual(["final 1", "passing 1", "passing 2", "passing 3"]);
  });
});

describe("a direct call that fails", () => {
  // One worker throws all of it, one after the other: so it is seen to go on, too.
  test("with whatever is thrown ends, and the worker goes on", async () => {
    const impl = (isAsync: boolean) => {
      return ({ text }: { text: string }) => {
        if (text === "fine") {
          return { text };
        }
        const error = meant(text).make();
        return isAsync ? Promise.reject(error) : raise(error);
      };
    };
    const root = await nats.connect();
    await nats.worker({ get: impl(false), two: impl(true) });
    const client = await nats.client();
    for (const [index, { what, code, text }] of thrown.entries()) {
      for (const method of [client.get, client.two]) {
        const error = await failureOf(method({ text: `${index}` }));
        expect(error.code, what).toBe(code);
        expect(error.rawMessage, what).toMatch(text);
        expect(await method({ text: "fine" }), what).toMatchObject({ text: "fine" });
      }
      const request = JSON.stringify({ text: `${index}` });
      const json = await root.nats.request("test.v1.TestService.rpc.Get", request, {
        timeout: 30_000,
        headers: jsonHeaders(),
      });
      expect(json.json(), what).toMatchObject({ code: codeName(code) });
    }
  });

  test("with whatever an interceptor throws ends", async () => {
    let index = 0;
    const interceptors = [() => () => raise(meant(`${index}`).make())];
    await nats.worker({ get: () => ({}) }, { interceptors });
    const client = await nats.client();
    for (const { what, code, text } of thrown) {
      const error = await failureOf(client.get({}));
      expect(error.code, what).toBe(code);
      expect(error.rawMessage, what).toMatch(text);
      index++;
    }
  });

  test("with whatever is thrown ends a stream after its messages", async () => {
    let index = 0;
    const fail = () => raise(meant(`${index}`).make());
    await nats.worker({
      async *down() {
        yield { index: 1 };
        fail();
      },
      up: fail,
      chat: fail,
    });
    const client = await nats.client();
    const seen: number[] = [];
    const read = async () => {
      for await (const { index } of client.down({})) {
        seen.push(index);
      }
    };
    const requests = async function* () {
      yield {};
    };
    for (const { what, code, text } of thrown) {
      for (const run of [
        read,
        () => client.up(requests()),
        () => collect(client.chat(requests())),
      ]) {
        const error = await failureOf(run());
        expect(error.code, what).toBe(code);
        expect(error.rawMessage, what).toMatch(text);
      }
      index++;
    }
    expect(seen).toEqual(thrown.map(() => 1));
  });

  test("gives its slot back", async () => {
    await nats.worker({
      two: ({ text }) => (text === "fine" ? { text } : raise(new ConnectError(text1M))),
    });
    const client = await nats.client();
    for (let i = 0; i < 5; i++) {
      await failureOf(client.two({}));
    }
    expect(await client.two({ text: "fine" })).toMatchObject({ text: "fine" });
  });

  test("with a value of a million characters in JSON ends", async () => {
    const root = await nats.connect();
    await nats.worker({ get: () => ({ text: "fine" }) });
    const request = (json: string) =>
      root.nats.request("test.v1.TestService.rpc.Get", json, {
        timeout: 30_000,
        headers: jsonHeaders(),
      });
    const reply = await request(JSON.stringify({ count: "k".repeat(1_000_000) }));
    expect(reply.json()).toMatchObject({ code: "invalid_argument" });
    expect((await request("{}")).json()).toMatchObject({ text: "fine" });
  });

  test.each([
    ["throws", () => raise(new Error("the logger is broken"))],
    ["rejects", () => Promise.reject(new Error("the logger is broken"))],
  ])("is not hurt by a logger that %s", async (_how, logger) => {
    const fail = () => raise(new Error("mine"));
    await nats.worker({ get: fail, do: fail }, { logger: logger as () => void });
    const client = await nats.client();
    for (const method of [client.get, client.get, client.do]) {
      expect(await failureOf(method({}))).toMatchObject({ code: Code.Internal });
    }
  });
});

test("a caller's requests that fail end its call, whatever they throw", async () => {
  await nats.worker({ up: async (requests) => ({ index: (await collect(requests)).length }) });
  const client = await nats.client();
  for (const { what, make } of thrown) {
    // biome-ignore lint/correctness/useYield: it fails
    const requests = async function* () {
      throw make();
    };
    const broken = {
      [Symbol.asyncIterator]: () => ({
        next: () => raise(make()),
        return: () => raise(make()),
      }),
    };
    for (const each of [requests(), broken]) {
      expect(await client.up(each).catch((error: unknown) => [error]), what).toHaveLength(1);
    }
    expect(await client.up((async function* () {})()), what).toMatchObject({ index: 0 });
  }
});

describe("a durable call that fails", () => {
  test("for good ends at its first attempt, whatever is thrown", async () => {
    const attempts: string[] = [];
    await nats.worker({
      do: ({ text }) => {
        attempts.push(text);
        throw meant(text).make();
      },
      async *count({ text }) {
        yield { index: 1 };
        throw meant(text).make();
      },
    });
    const client = await nats.client();
    const final = [...thrown.entries()].filter(([, { code }]) => code === Code.NotFound);
    for (const [index, { what, text }] of final) {
      const request = { text: `${index}` };
      const call = await client.do.submit(request, { callId: `do-${index}` });
      const error = await failureOf(call.result());
      expect(error.code, what).toBe(Code.NotFound);
      expect(error.rawMessage, what).toMatch(text);
      const stream = await client.count.submit(request, { callId: `count-${index}` });
      expect((await failureOf(collect(stream))).code, what).toBe(Code.NotFound);
    }
    expect(attempts).toEqual(final.map(([index]) => `${index}`));
    await untilQueueIsEmpty();
    // A letter may be stored after its call has ended: a large one comes later then.
    const all = await letters();
    expect(all.map(({ error }) => error.code)).toEqual(all.map(() => Code.NotFound));
    const ids = final.flatMap(([index]) => [`do-${index}`, `count-${index}`]);
    expect(all.map(({ callId }) => callId).sort()).toEqual(ids.sort());
    for (const letter of all) {
      expect(await letter.request()).toMatchObject({ text: letter.callId.split("-")[1] });
    }
  });

  test("is attempted again, and ends, whatever is thrown", async () => {
    const attempts: string[] = [];
    await nats.worker({
      do: ({ text }, { attempt }) => {
        attempts.push(`${text} ${attempt}`);
        throw meant(text).make();
      },
    });
    const client = await nats.client();
    for (const [index, { what, code }] of thrown.entries()) {
      if (code !== Code.NotFound) {
        const call = await client.do.submit({ text: `${index}` });
        expect((await failureOf(call.result())).code, what).toBe(code);
        expect(attempts.splice(0), what).toEqual([1, 2, 3].map((each) => `${index} ${each}`));
        expect((await call.status()).attempts, what).toHaveLength(3);
      }
    }
  });

  test("with an error that is repeated and does not fit is repeated after its time", async () => {
    await nats.worker({
      do: (_request, { attempt }) => {
        if (attempt === 1) {
          throw retryAfter(new ConnectError(text1M, Code.NotFound), 1.25);
        }
        return { index: attempt };
      },
    });
    const call = await (await nats.client()).do.submit({});
    expect(await call.result()).toMatchObject({ index: 2 });
    expect((await call.status()).attempts[0]?.error?.code).toBe(Code.NotFound);
  });

  test("has a dead letter although its request leaves little room", async () => {
    await nats.worker({
      do: () =>
        raise(new ConnectError("e".repeat(3_000), Code.NotFound, { "x-why": "w".repeat(2000) })),
    });
    const client = await nats.client();
    const data = new Uint8Array(1_048_576 - 4_130);
    await failureOf(client.do({ data }));
    await untilQueueIsEmpty();
    const [letter] = await letters();
    expect(letter?.error.code).toBe(Code.NotFound);
    expect(letter?.error.rawMessage).toMatch(/^e+ \(left out: \d+ of 3000 bytes/);
    expect(await letter?.request()).toMatchObject({
      data: expect.objectContaining({ length: data.length }),
    });
  });

  test.each([
    ["a payload that fills a message", 1_048_576 - 60, 0],
    ["headers of 65,300 bytes", 10, 65_250],
    ["both", 1_048_576 - 65_330, 65_250],
  ])("has a dead letter although it was queued by hand with %s", async (_what, bytes, header) => {
    await nats.worker({ do: () => raise(new ConnectError(text1M, Code.NotFound)) });
    const root = await nats.connect();
    const subject = "test.v1.TestService.queue.Do._._.by-hand";
    const headers = new MsgHdrsImpl();
    headers.append("x-large", "x".repeat(header));
    // A field of bytes, as protobuf writes it.
    const data = new Uint8Array(bytes).fill(1);
    data.set(bytes > 100 ? [0x1a, ...varint(bytes - 5)] : [0x1a, bytes - 2]);
    const ack = await root.nats.request(subject, data, { timeout: 30_000, headers });
    expect(ack.json()).toMatchObject({ stream: "TEST" });
    const call = (await nats.client()).do.attach("by-hand");
    await failureOf(call.result());
    await untilQueueIsEmpty();
    const [letter] = await letters();
    expect(letter?.error.code).toBe(Code.NotFound);
    expect((await letter?.requestBytes())?.length).toBe(bytes);
    expect(letter?.error.rawMessage).toMatch(
      /left out: .*(bytes of text|the headers of the request)/,
    );
  });

  test("ends once when the stream of its log takes no entry that is so large", async () => {
    let attempts = 0;
    await nats.worker({
      do: () => {
        attempts++;
        return { text: "x".repeat(50_000) };
      },
    });
    const root = await nats.connect();
    const info = await root.nats.request("$JS.API.STREAM.INFO.TEST_LOG");
    const { config } = info.json() as { config: object };
    const smaller = JSON.stringify({ ...config, max_msg_size: 10_000 });
    await root.nats.request("$JS.API.STREAM.UPDATE.TEST_LOG", smaller);
    const error = await failureOf((await nats.client()).do({}));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(attempts).toBe(1);
  });
});

describe("progress", () => {
  test.each([
    ["a bigint", { done: 5n }],
    ["no report", undefined],
    ["no number of what is done", {}],
    ["a total that is a text", { done: 1, total: "2" }],
    ["a message that is a number", { done: 1, message: 3 }],
  ])("that is %s is InvalidArgument at once, always", async (_what, report) => {
    const seen: unknown[] = [];
    await nats.worker({
      do: (_request, context) => {
        context.progress({ done: 1 });
        for (let i = 0; i < 2; i++) {
          try {
            context.progress(report as never);
          } catch (error) {
            seen.push((error as ConnectError).code);
          }
        }
        return {};
      },
    });
    await (await nats.client()).do({});
    expect(seen).toEqual([Code.InvalidArgument, Code.InvalidArgument]);
  });

  test("has its text cut, at once and when it waits", async () => {
    const shown = gate();
    await nats.worker({
      do: async (_request, context) => {
        context.progress({ done: 1, message: "€".repeat(700_000) });
        context.progress({ done: 2, message: "€".repeat(700_000) });
        await shown.opened;
        return {};
      },
    });
    const call = await (await nats.client()).do.submit({});
    for await (const { done, message } of call.progress()) {
      expect(message).toBe("€".repeat(1365));
      if (done === 2) {
        shown.open();
      }
    }
  });

  test("is what was reported, whatever becomes of the report; after the end it is not sent", async () => {
    const over = gate();
    const done: number[] = [];
    await nats.worker({
      do: async (_request, context) => {
        const report = { done: 1 };
        context.progress({ done: 0 });
        context.progress(report);
        report.done = 5n as never;
        void over.opened.then(() => context.progress({ done: 99 }));
        await new Promise((resolve) => setTimeout(resolve, 300));
        return {};
      },
    });
    const call = await (await nats.client()).do.submit({});
    await call.result();
    over.open();
    await over.opened;
    for await (const report of call.progress()) {
      done.push(report.done);
    }
    expect(done.at(-1)).toBe(1);
  });
});

describe("discovery", () => {
  test("shows a part of an error of 1 MB", async () => {
    const root = await nats.connect();
    await nats.worker({
      get: () => raise(new ConnectError(`\n${text1M}`, Code.NotFound)),
    });
    await failureOf((await nats.client()).get({}));
    const stats = await root.nats.request("$SRV.STATS");
    const [endpoint] = (stats.json() as { endpoints: { last_error: string }[] }).endpoints;
    expect(endpoint?.last_error).toMatch(/^NotFound: {2}x{255}$/);
  });
});

function jsonHeaders(): MsgHdrsImpl {
  const headers = new MsgHdrsImpl();
  headers.append("Content-Type", "application/json");
  return headers;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (let i = 0; i < 3; i++) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return [...bytes, rest];
}
