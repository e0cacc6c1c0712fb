import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import {
  Code,
  ConnectError,
  createClient as createConnectClient,
  type HandlerContext,
  type Transport,
} from "@connectrpc/connect";
import { connectNodeAdapter, createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, failureOf, until, useNats } from "./support.js";

const nats = useNats();

const error = new ConnectError("no such thing", Code.NotFound);
const bug = new TypeError("a bug");

/** What handlers throw; undefined for nothing. */
const thrown = { "a ConnectError": error, "an Error": bug, "a text": "a text", nothing: undefined };
type Kind = keyof typeof thrown;

/** The reasons of the signals of handlers, as they fire. */
const reasons: unknown[] = [];

function watch({ signal }: HandlerContext): void {
  signal.addEventListener("abort", () => reasons.push(signal.reason));
}

function end(kind: string) {
  const reason = thrown[kind as Kind];
  if (reason !== undefined) {
    throw reason;
  }
  return {};
}

const handlers = {
  get: ({ text }: { text: string }, context: HandlerContext) => {
    watch(context);
    return end(text);
  },
  async *down({ text }: { text: string }, context: HandlerContext) {
    watch(context);
    yield {};
    end(text);
  },
  async up(requests: AsyncIterable<{ text: string }>, context: HandlerContext) {
    watch(context);
    const [first] = await collect(requests);
    return end(first?.text ?? "");
  },
};

/** The same service behind Connect over HTTP/2. */
const http = createServer(
  connectNodeAdapter({ routes: (router) => router.service(TestService, handlers) }),
);
let overHttp: Transport;

beforeAll(async () => {
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  overHttp = createConnectTransport({ baseUrl: `http://127.0.0.1:${port}`, httpVersion: "2" });
});
afterAll(() => {
  http.close();
});

async function* one(text: string) {
  yield { text };
}

describe("the signal of a handler", () => {
  test.each(Object.keys(thrown))("fires as in Connect after it threw %s", async (text) => {
    await nats.worker(handlers);
    const { transport } = await nats.connect({ as: "client" });
    for (const [name, each] of Object.entries({ "over HTTP": overHttp, "over NATS": transport })) {
      const client = createConnectClient(TestService, each);
      for (const call of [
        () => client.get({ text }),
        () => collect(client.down({ text })),
        () => client.up(one(text)),
      ]) {
        reasons.length = 0;
        await call().catch(() => undefined);
        await until(() => reasons.length === 1);
        const reason = thrown[text as Kind];
        if (reason === undefined) {
          expect(reasons[0], name).toMatchObject({ name: "AbortError" });
        } else {
          expect(reasons[0], name).toBe(reason);
        }
      }
    }
  });

  test("of an attempt fires with what it threw, and with an AbortError where it threw nothing", async () => {
    await nats.worker({
      do: (_request, context) => {
        watch(context);
        return end((["an Error", "a ConnectError", "nothing"] as const)[context.attempt - 1] ?? "");
      },
      count: handlers.down,
    });
    const client = await nats.client();
    reasons.length = 0;
    expect((await failureOf(client.do({}))).code).toBe(error.code);
    await collect(client.count({}));
    await until(() => reasons.length === 3);
    expect(reasons).toEqual([bug, error, expect.objectContaining({ name: "AbortError" })]);
  });
});

test("a stream ends whose caller's onHeader() throws", async () => {
  await nats.worker({
    async *down(_request, context) {
      watch(context);
      for (;;) {
        yield {};
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  });
  reasons.length = 0;
  const onHeader = () => {
    throw bug;
  };
  await expect(collect((await nats.client()).down({}, { onHeader }))).rejects.toBe(bug);
  await until(() => reasons.length === 1);
  expect(reasons[0]).toMatchObject({ code: Code.Canceled });
});

test("what a generator of requests throws is the error that Connect makes of it", async () => {
  await nats.worker({
    ...handlers,
    async *chat(requests) {
      for await (const { text } of requests) {
        yield { text };
      }
    },
  });
  const { transport } = await nats.connect({ as: "client" });
  const left = new DOMException("left", "AbortError");
  for (const reason of [bug, error, left, "a text", undefined]) {
    const requests = async function* () {
      yield {};
      throw reason;
    };
    const [overConnect, ours] = await Promise.all(
      [overHttp, transport].map((each) =>
        failureOf(createConnectClient(TestService, each).up(requests())),
      ),
    );
    expect(ours).toMatchObject({ code: overConnect?.code, rawMessage: overConnect?.rawMessage });
    const chat = createConnectClient(TestService, transport).chat(requests());
    expect(await failureOf(collect(chat))).toMatchObject({ code: ours?.code });
  }
});
