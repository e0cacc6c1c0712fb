import { createClient } from "@connectrpc/connect";
import {
  Code,
  ConnectError,
  type DurableHandlerContext,
  type HandlerContext,
  type WorkerImpl,
} from "@jetrpc/runtime";
import { expect, test } from "vitest";
import { RequestSchema, TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { createTestTransport } from "../src/test-transport.js";

type Impl = Partial<WorkerImpl<typeof TestService>>;

test("calls unary and streaming handlers", async () => {
  const client = createClient(
    TestService,
    createTestTransport(TestService, {
      get: (request) => ({ text: `got ${request.text}` }),
      do: async (request) => ({ text: `did ${request.text}` }),
      async *count(request) {
        for (let index = 0; index < request.count; index++) {
          yield { index };
        }
      },
    }),
  );
  expect((await client.get({ text: "a" })).text).toBe("got a");
  expect((await client.do({ text: "b" })).text).toBe("did b");
  const indexes: number[] = [];
  for await (const response of client.count({ count: 3 })) {
    indexes.push(response.index);
  }
  expect(indexes).toEqual([0, 1, 2]);
});

test("tells a durable handler of its call and keeps what it reports", async () => {
  const contexts: DurableHandlerContext[] = [];
  const transport = createTestTransport(TestService, {
    do(request, context) {
      contexts.push(context);
      context.responseHeader.set("seen", context.requestHeader.get("sent") ?? "");
      context.progress({ done: 1, total: 2, message: request.text });
      context.progress({ done: 2, total: 2 });
      return {};
    },
  });
  const client = createClient(TestService, transport);
  let header: Headers | undefined;
  await client.do(
    { text: "half" },
    { headers: { sent: "value" }, onHeader: (headers) => (header = headers) },
  );
  await client.do({});

  expect(contexts.map(({ callId, attempt, resumeFrom }) => [callId, attempt, resumeFrom])).toEqual([
    ["test-1", 1, 0],
    ["test-2", 1, 0],
  ]);
  expect(header?.get("seen")).toBe("value");
  expect(contexts[0]?.signal).toBeInstanceOf(AbortSignal);
  expect(contexts[0]?.method).toBe(TestService.method.do);
  const method = TestService.method.do;
  expect(transport.progress.slice(0, 2)).toEqual([
    { method, callId: "test-1", done: 1, total: 2, message: "half" },
    { method, callId: "test-1", done: 2, total: 2 },
  ]);
  expect(transport.progress).toHaveLength(4);
});

test("plays a later attempt", async () => {
  const transport = createTestTransport(
    TestService,
    {
      async *resume(_, { callId, attempt, resumeFrom }) {
        yield { text: `${callId} ${attempt}`, index: resumeFrom };
      },
    },
    { callId: "invoice-42", attempt: 2, resumeFrom: 7 },
  );
  for await (const response of createClient(TestService, transport).resume({})) {
    expect(response).toMatchObject({ text: "invoice-42 2", index: 7 });
  }
  expect.assertions(1);
});

test("a direct handler gets no more than a worker gives it", async () => {
  let seen: HandlerContext | undefined;
  const transport = createTestTransport(TestService, {
    get(_, context) {
      seen = context;
      return {};
    },
  });
  await createClient(TestService, transport).get({});
  expect(seen?.method).toBe(TestService.method.get);
  expect(seen).not.toHaveProperty("progress");
  expect(seen).not.toHaveProperty("callId");
});

test("errors keep code, text and details", async () => {
  const transport = createTestTransport(TestService, {
    do() {
      throw new ConnectError("no such page", Code.OutOfRange, undefined, [
        { desc: RequestSchema, value: { text: "detail" } },
      ]);
    },
  });
  const error = await createClient(TestService, transport)
    .do({})
    .catch((error) => error);
  expect(error).toBeInstanceOf(ConnectError);
  expect(error).toMatchObject({ code: Code.OutOfRange, rawMessage: "no such page" });
  expect(error.findDetails(RequestSchema)[0]).toMatchObject({ text: "detail" });
});

test("a method that is not implemented", async () => {
  const client = createClient(TestService, createTestTransport(TestService, {}));
  await expect(client.do({})).rejects.toMatchObject({ code: Code.Unimplemented });
});

test("handlers may be methods of an object", async () => {
  class Worker implements Impl {
    private readonly greeting = "hello";
    get() {
      return { text: this.greeting };
    }
  }
  const client = createClient(TestService, createTestTransport(TestService, new Worker()));
  expect((await client.get({})).text).toBe("hello");
});

test("handlers are checked against the service", () => {
  // @ts-expect-error text is a string
  createTestTransport(TestService, { get: () => ({ text: 1 }) });
  // @ts-expect-error the context has no such member
  createTestTransport(TestService, { do: (_, context) => ({ text: context.tenant }) });
});

test("refuses a handler that the service lacks, as serve() does", () => {
  // @ts-expect-error the service has no such method
  const make = () => createTestTransport(TestService, { missing: () => ({}) });
  expect(make).toThrow(
    /^\[invalid_argument\] test\.v1\.TestService has no method "missing": it has get, /,
  );
});
