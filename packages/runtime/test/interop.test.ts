/**
 * gRPC's interop test cases, by their own names, over NATS (docs/direct-calls.md has those
 * that do not apply):
 * https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type Client,
  createClient,
  decodeBinaryHeader,
  encodeBinaryHeader,
  type HandlerContext,
} from "@connectrpc/connect";
import { Code, ConnectError, startWorker, type WorkerImpl } from "@jetrpc/runtime";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type EchoStatus,
  type StreamingOutputCallRequest,
  type StreamingOutputCallRequestSchema,
  TestService,
  UnimplementedService,
} from "./gen/grpc/testing/test_pb.js";
import { collect, useNats } from "./support.js";

const initialKey = "x-grpc-test-echo-initial";
const trailingKey = "x-grpc-test-echo-trailing-bin";

const zeros = (size: number) => ({ body: new Uint8Array(size) });

function echoMetadata(context: HandlerContext): void {
  const initial = context.requestHeader.get(initialKey);
  if (initial !== null) {
    context.responseHeader.set(initialKey, initial);
  }
  const trailing = context.requestHeader.get(trailingKey);
  if (trailing !== null) {
    context.responseTrailer.set(trailingKey, trailing);
  }
}

function throwStatus(status: EchoStatus | undefined): void {
  if (status && status.code !== 0) {
    throw new ConnectError(status.message, status.code);
  }
}

async function* respond(request: StreamingOutputCallRequest) {
  for (const { size, intervalUs } of request.responseParameters) {
    if (intervalUs > 0) {
      await new Promise((resolve) => setTimeout(resolve, intervalUs / 1000));
    }
    yield { payload: zeros(size) };
  }
}

const impl: Partial<WorkerImpl<typeof TestService>> = {
  emptyCall: () => ({}),
  unaryCall: (request, context) => {
    echoMetadata(context);
    throwStatus(request.responseStatus);
    return { payload: zeros(request.responseSize) };
  },
  streamingOutputCall: respond,
  streamingInputCall: async (requests) => {
    let aggregatedPayloadSize = 0;
    for await (const { payload } of requests) {
      aggregatedPayloadSize += payload?.body.length ?? 0;
    }
    return { aggregatedPayloadSize };
  },
  async *fullDuplexCall(requests, context) {
    echoMetadata(context);
    for await (const request of requests) {
      throwStatus(request.responseStatus);
      yield* respond(request);
    }
  },
};

const nats = useNats();
let client: Client<typeof TestService>;
let unimplemented: Client<typeof UnimplementedService>;
let stop: () => Promise<void>;

beforeAll(async () => {
  const workers = await nats.connect({ as: "worker", keep: true });
  await startWorker(TestService, impl, workers, { answerUnimplemented: true });
  await startWorker(UnimplementedService, {}, workers, { answerUnimplemented: true });
  // Some calls have megabytes, and there are a thousand at once.
  const defaultTimeoutMs = 170_000;
  const clients = await nats.connect({ as: "client", keep: true, defaultTimeoutMs });
  // Connect's own client.
  client = createClient(TestService, clients.transport);
  unimplemented = createClient(UnimplementedService, clients.transport);
  stop = async () => {
    await clients.close();
    await workers.close();
  };
});
afterAll(() => stop());

type OutputInit = MessageInitShape<typeof StreamingOutputCallRequestSchema>;

/** Requests that are sent one by one, as a test asks for it. */
function sender<T>() {
  const queue: (T | undefined)[] = [];
  let wake: (() => void) | undefined;
  const put = (value: T | undefined) => {
    queue.push(value);
    wake?.();
  };
  return {
    send: (value: T) => put(value),
    close: () => put(undefined),
    async *[Symbol.asyncIterator](): AsyncGenerator<T> {
      for (;;) {
        if (queue.length === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        const value = queue.shift();
        if (value === undefined) {
          return;
        }
        yield value;
      }
    },
  };
}

test("empty_unary", async () => {
  expect(await client.emptyCall({})).toMatchObject({ $typeName: "google.protobuf.Empty" });
});

test.each([
  ["large_unary", 271_828, 314_159],
  ["large_unary beyond max_payload", 2_718_280, 3_141_590],
])("%s", async (_name, requestSize, responseSize) => {
  const response = await client.unaryCall({ responseSize, payload: zeros(requestSize) });
  expect(Buffer.compare(response.payload?.body ?? Buffer.of(1), Buffer.alloc(responseSize))).toBe(
    0,
  );
});

/** gRPC asks for 1,000, which takes 600 MB each way: by hand. */
const concurrentCalls = Number(process.env["JETRPC_CONCURRENT_CALLS"] ?? 200);

test.each([
  ["concurrent_large_unary", 271_828, 314_159],
  ["concurrent_large_unary, up only", 271_828, 0],
  ["concurrent_large_unary, down only", 0, 314_159],
])("%s", async (_name, requestSize, responseSize) => {
  const sizes = await Promise.all(
    Array.from({ length: concurrentCalls }, async () => {
      const request = { responseSize, payload: zeros(requestSize) };
      return (await client.unaryCall(request)).payload?.body.length;
    }),
  );
  expect(sizes).toEqual(Array(concurrentCalls).fill(responseSize));
});

test("concurrent_large_unary, as streams", async () => {
  const request = { responseParameters: [{ size: 314_159 }], payload: zeros(271_828) };
  const all = await Promise.all(
    Array.from({ length: concurrentCalls }, () => collect(client.streamingOutputCall(request))),
  );
  const sizes = all.map((responses) => responses.map(({ payload }) => payload?.body.length));
  expect(sizes).toEqual(Array(concurrentCalls).fill([314_159]));
});

test("rpc_soak, channel_soak", async () => {
  const request = { responseSize: 314_159, payload: zeros(271_828) };
  for (let i = 0; i < 100; i++) {
    expect((await client.unaryCall(request)).payload?.body.length).toBe(314_159);
  }
  for (let i = 0; i < 10; i++) {
    const connection = await nats.connect({ as: "client" });
    const { payload } = await createClient(TestService, connection.transport).unaryCall(request);
    expect(payload?.body.length).toBe(314_159);
    await connection.close();
  }
});

test("multiple thousand simultaneous calls", async () => {
  const responses = await Promise.all(Array.from({ length: 5_000 }, () => client.emptyCall({})));
  expect(responses).toHaveLength(5_000);
});

test("multiple thousand simultaneous calls timeout", async () => {
  const request = { responseParameters: [{ size: 1, intervalUs: 10_000_000 }] };
  const codes = await Promise.all(
    Array.from({ length: 2_000 }, () =>
      collect(client.streamingOutputCall(request, { timeoutMs: 50 })).then(
        () => undefined,
        (error: unknown) => ConnectError.from(error).code,
      ),
    ),
  );
  expect(new Set(codes)).toEqual(new Set([Code.DeadlineExceeded]));
});

test("timeout but completed before expire", async () => {
  expect(await client.emptyCall({}, { timeoutMs: 60_000 })).toBeDefined();
});

test("client_streaming", async () => {
  async function* requests() {
    for (const size of [27182, 8, 1828, 45904]) {
      yield { payload: zeros(size) };
    }
  }
  const response = await client.streamingInputCall(requests());
  expect(response.aggregatedPayloadSize).toBe(74922);
});

test("server_streaming", async () => {
  const sizes = [31415, 9, 2653, 58979];
  const responses = await collect(
    client.streamingOutputCall({ responseParameters: sizes.map((size) => ({ size })) }),
  );
  expect(responses.map((response) => response.payload?.body.length)).toEqual(sizes);
});

test("ping_pong", async () => {
  const pairs = [
    [27182, 31415],
    [8, 9],
    [1828, 2653],
    [45904, 58979],
  ] as const;
  const requests = sender<OutputInit>();
  const responses = client.fullDuplexCall(requests)[Symbol.asyncIterator]();
  for (const [requestSize, responseSize] of pairs) {
    requests.send({
      responseParameters: [{ size: responseSize }],
      payload: zeros(requestSize),
    });
    const { value } = await responses.next();
    expect(value?.payload?.body.length).toBe(responseSize);
  }
  requests.close();
  expect(await responses.next()).toEqual({ done: true, value: undefined });
});

test("empty_stream", async () => {
  const requests = sender<OutputInit>();
  requests.close();
  expect(await collect(client.fullDuplexCall(requests))).toEqual([]);
});

test("custom_metadata", async () => {
  const binary = new Uint8Array([0xab, 0xab, 0xab]);
  const headers = {
    [initialKey]: "test_initial_metadata_value",
    [trailingKey]: encodeBinaryHeader(binary),
  };
  const seen: string[] = [];
  const options = {
    headers,
    onHeader: (header: Headers) => {
      expect(header.get(initialKey)).toBe("test_initial_metadata_value");
      expect(header.has(trailingKey)).toBe(false);
      seen.push("header");
    },
    onTrailer: (trailer: Headers) => {
      expect(decodeBinaryHeader(trailer.get(trailingKey) ?? "")).toEqual(binary);
      seen.push("trailer");
    },
  };
  await client.unaryCall({ responseSize: 314_159, payload: zeros(271_828) }, options);
  const requests = sender<OutputInit>();
  requests.send({ responseParameters: [{ size: 314_159 }], payload: zeros(271_828) });
  requests.close();
  await collect(client.fullDuplexCall(requests, options));
  expect(seen).toEqual(["header", "trailer", "header", "trailer"]);
});

test("large amount of headers: 63K of X's", async () => {
  const call = (size: number) => {
    const headers = { [initialKey]: "X".repeat(size) };
    let echoed = 0;
    const onHeader = (header: Headers) => {
      echoed = header.get(initialKey)?.length ?? 0;
    };
    return client.unaryCall({}, { headers, onHeader }).then(() => echoed);
  };
  expect(await call(31 * 1024)).toBe(31 * 1024);
  await expect(call(63 * 1024)).rejects.toMatchObject({
    code: Code.ResourceExhausted,
    rawMessage: expect.stringMatching(
      /the metadata of the request has \d+ bytes, and may have 32768/,
    ),
  });
});

test.each([
  ["status_code_and_message", 2, "test status message"],
  ["special_status_message", 2, "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"],
])("%s", async (_name, code, message) => {
  const responseStatus = { code, message };
  const expected = { code, rawMessage: message };
  await expect(client.unaryCall({ responseStatus })).rejects.toMatchObject(expected);
  const requests = sender<OutputInit>();
  requests.send({ responseStatus });
  requests.close();
  await expect(collect(client.fullDuplexCall(requests))).rejects.toMatchObject(expected);
});

test("unimplemented_method", async () => {
  await expect(client.unimplementedCall({})).rejects.toMatchObject({ code: Code.Unimplemented });
});

test("unimplemented_service", async () => {
  await expect(unimplemented.unimplementedCall({})).rejects.toMatchObject({
    code: Code.Unimplemented,
  });
});

test("cancel before start", async () => {
  const signal = AbortSignal.abort();
  await expect(client.emptyCall({}, { signal })).rejects.toMatchObject({ code: Code.Canceled });
  await expect(client.streamingInputCall(sender(), { signal })).rejects.toMatchObject({
    code: Code.Canceled,
  });
  await expect(collect(client.streamingOutputCall({}, { signal }))).rejects.toMatchObject({
    code: Code.Canceled,
  });
});

test("cancel after sent first message", async () => {
  const controller = new AbortController();
  const requests = sender<{ payload: { body: Uint8Array } }>();
  const call = client.streamingInputCall(requests, { signal: controller.signal });
  requests.send({ payload: zeros(27_182) });
  controller.abort();
  await expect(call).rejects.toMatchObject({ code: Code.Canceled });
});

test("cancel after received headers", async () => {
  const controller = new AbortController();
  const options = { signal: controller.signal, onHeader: () => controller.abort() };
  const request = { responseParameters: [{ size: 1 }, { size: 1, intervalUs: 10_000_000 }] };
  await expect(collect(client.streamingOutputCall(request, options))).rejects.toMatchObject({
    code: Code.Canceled,
  });
});

test("cancel_after_begin", async () => {
  const controller = new AbortController();
  const call = client.streamingInputCall(sender(), { signal: controller.signal });
  controller.abort();
  await expect(call).rejects.toMatchObject({ code: Code.Canceled });
});

test("cancel_after_first_response", async () => {
  const controller = new AbortController();
  const requests = sender<OutputInit>();
  const options = { signal: controller.signal };
  const responses = client.fullDuplexCall(requests, options)[Symbol.asyncIterator]();
  requests.send({ responseParameters: [{ size: 31415 }], payload: zeros(27182) });
  expect((await responses.next()).value?.payload?.body.length).toBe(31415);
  controller.abort();
  await expect(responses.next()).rejects.toMatchObject({ code: Code.Canceled });
});

test("timeout_on_sleeping_server", async () => {
  const requests = sender<OutputInit>();
  requests.send({
    responseParameters: [{ size: 1, intervalUs: 10_000_000 }],
    payload: zeros(27182),
  });
  await expect(collect(client.fullDuplexCall(requests, { timeoutMs: 1 }))).rejects.toMatchObject({
    code: Code.DeadlineExceeded,
  });
});
