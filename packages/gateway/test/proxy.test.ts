import {
  create,
  createFileRegistry,
  type DescFile,
  type DescService,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  StringValueSchema,
} from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import * as grpc from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import {
  RequestSchema,
  ResponseSchema,
  TestService,
} from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf, gate, type TestImpl } from "../../runtime/test/support.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway, worker } = useGateway();

type Make = (baseUrl: string) => Transport;
const clients: Record<string, Make> = {
  "Connect, HTTP/2": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
  "Connect, JSON, HTTP/2": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false }),
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  "gRPC, JSON": (baseUrl) => createGrpcTransport({ baseUrl, useBinaryFormat: false }),
  "gRPC-Web, HTTP/2": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
};
const http1Clients: Record<string, Make> = {
  "Connect, HTTP/1.1": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "gRPC-Web, HTTP/1.1": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
};
const webClients: Record<string, Make> = {
  "connect-web": (baseUrl) => web.createConnectTransport({ baseUrl }),
  "connect-web, binary and GET": (baseUrl) =>
    web.createConnectTransport({ baseUrl, useBinaryFormat: true, useHttpGet: true }),
  "connect-web, gRPC-Web": (baseUrl) => web.createGrpcWebTransport({ baseUrl }),
};

const answers: TestImpl = {
  get: ({ text, data }, { requestHeader, responseHeader, responseTrailer }) => {
    responseHeader.set("x-seen", requestHeader.get("x-sent") ?? "");
    responseTrailer.set("x-end", "yes");
    return { text: text.toUpperCase(), data };
  },
  async *down({ count }, { responseHeader }) {
    responseHeader.set("x-count", String(count));
    for (let index = 0; index < count; index++) {
      yield { index };
    }
  },
  async up(requests) {
    const all = await collect(requests);
    return { index: all.length, text: all.map(({ text }) => text).join("") };
  },
  async *chat(requests) {
    for await (const { text } of requests) {
      yield { text: `${text}!` };
    }
  },
  do: ({ text }) => ({ text: `done ${text}` }),
  async *count({ count }) {
    for (let index = 0; index < count; index++) {
      yield { index };
    }
  },
};

async function* requests(...texts: string[]) {
  for (const text of texts) {
    yield { text };
  }
}

describe.each([
  ["a schema", [TestService]],
  ["what workers tell", undefined],
])("with %s", (_, services) => {
  test.each(Object.entries({ ...clients, ...http1Clients, ...webClients }))(
    "%s: unary and streamed responses, direct and durable, with metadata",
    async (_name, make) => {
      await nats.worker(answers);
      const { url } = await gateway({ services });
      const client = createClient(TestService, make(url));
      const seen: Record<string, string | null> = {};
      const data = new Uint8Array([0, 255, 7]);
      const response = await client.get(
        { text: "abc", data },
        {
          headers: { "X-Sent": "hello" },
          onHeader: (header) => {
            seen["header"] = header.get("x-seen");
          },
          onTrailer: (trailer) => {
            seen["trailer"] = trailer.get("x-end");
          },
        },
      );
      expect(response).toMatchObject({ text: "ABC", data });
      expect(seen).toEqual({ header: "hello", trailer: "yes" });

      const down = await collect(
        client.down(
          { count: 3 },
          {
            onHeader: (header) => {
              seen["count"] = header.get("x-count");
            },
          },
        ),
      );
      expect(down.map(({ index }) => index)).toEqual([0, 1, 2]);
      expect(seen["count"]).toBe("3");
      expect((await client.do({ text: "it" })).text).toBe("done it");
      expect((await collect(client.count({ count: 4 }))).length).toBe(4);
    },
  );
});

test.each(Object.entries({ ...clients, ...http1Clients }))(
  "%s: a stream of requests",
  async (_name, make) => {
    await nats.worker(answers);
    const { url } = await gateway();
    const client = createClient(TestService, make(url));
    expect(await client.up(requests("a", "b", "c"))).toMatchObject({ text: "abc", index: 3 });
  },
);

test.each(Object.entries(clients))("%s: streams of both sides at once", async (_name, make) => {
  await nats.worker(answers);
  const { url } = await gateway();
  const client = createClient(TestService, make(url));
  const { opened, open } = gate();
  const sent = (async function* () {
    yield { text: "a" };
    await opened;
    yield { text: "b" };
  })();
  const heard: string[] = [];
  for await (const { text } of client.chat(sent)) {
    heard.push(text);
    // The second request is sent when the first one is answered.
    open();
  }
  expect(heard).toEqual(["a!", "b!"]);
});

test("a stream of both sides over HTTP/1.1 is refused at once", async () => {
  const { url } = await gateway({ services: [TestService] });
  const response = await fetch(`${url}/test.v1.TestService/Chat`, {
    method: "POST",
    headers: { "Content-Type": "application/connect+json" },
    body: "",
  });
  expect(response.status).toBe(505);
});

test.each(Object.entries({ ...clients, ...http1Clients, ...webClients }))(
  "%s: code, message, metadata and details of an error",
  async (_name, make) => {
    await nats.worker({
      get: () => {
        throw new ConnectError("no such thing", Code.NotFound, { "x-why": "gone" }, [
          { desc: StringValueSchema, value: { value: "a detail" } },
        ]);
      },
      async *down() {
        yield { index: 1 };
        throw new ConnectError("half way", Code.DataLoss, { "x-why": "torn" });
      },
    });
    const { url } = await gateway();
    const client = createClient(TestService, make(url));
    const error = await failureOf(client.get({}));
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: "no such thing" });
    expect(error.metadata.get("x-why")).toBe("gone");
    expect(error.findDetails(StringValueSchema)).toMatchObject([{ value: "a detail" }]);

    const torn = await failureOf(collect(client.down({})));
    expect(torn).toMatchObject({ code: Code.DataLoss, rawMessage: "half way" });
    expect(torn.metadata.get("x-why")).toBe("torn");
  },
);

test.each(Object.entries({ ...clients, ...http1Clients, ...webClients }))(
  "%s: a deadline reaches the worker, and so does a client that leaves",
  async (_name, make) => {
    const left = { get: gate(), down: gate() };
    const begun = gate();
    let timeoutMs: number | undefined;
    await nats.worker({
      get: async (_request, context) => {
        timeoutMs = context.timeoutMs();
        begun.open();
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        left.get.open();
        return {};
      },
      async *down(_request, { signal }) {
        yield { index: 1 };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        left.down.open();
      },
    });
    const { url } = await gateway();
    const client = createClient(TestService, make(url));
    const leaving = new AbortController();
    const call = client.get({}, { timeoutMs: 100_000, signal: leaving.signal });
    await begun.opened;
    expect(timeoutMs).toBeGreaterThan(10_000);
    expect(timeoutMs).toBeLessThanOrEqual(100_000);
    leaving.abort();
    expect((await failureOf(call)).code).toBe(Code.Canceled);
    await left.get.opened;

    const turning = new AbortController();
    const stream = collect(
      (async function* () {
        for await (const message of client.down({}, { signal: turning.signal })) {
          turning.abort();
          yield message;
        }
      })(),
    );
    expect((await failureOf(stream)).code).toBe(Code.Canceled);
    await left.down.opened;
    expect((await failureOf(client.get({}, { timeoutMs: 50 }))).code).toBe(Code.DeadlineExceeded);
  },
);

test("grpc-js calls all four kinds, and gets an error's details", async () => {
  await nats.worker({
    ...answers,
    slow: () => {
      throw new ConnectError("no", Code.AlreadyExists);
    },
    two: async (_request, { signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return {};
    },
  });
  const { url } = await gateway();
  const kind = (requestStream: boolean, responseStream: boolean, name: string) => ({
    path: `/test.v1.TestService/${name}`,
    requestStream,
    responseStream,
    requestSerialize: (text: string) =>
      Buffer.from(toBinary(RequestSchema, create(RequestSchema, { text, count: 2 }))),
    requestDeserialize: () => "",
    responseSerialize: () => Buffer.alloc(0),
    responseDeserialize: (bytes: Buffer) => fromBinary(ResponseSchema, bytes),
  });
  const Client = grpc.makeGenericClientConstructor(
    {
      get: kind(false, false, "Get"),
      down: kind(false, true, "Down"),
      up: kind(true, false, "Up"),
      chat: kind(true, true, "Chat"),
      slow: kind(false, false, "Slow"),
      two: kind(false, false, "Two"),
      none: kind(false, false, "None"),
    },
    "test.v1.TestService",
  );
  // biome-ignore lint/suspicious/noExplicitAny: grpc-js has no types for what it makes
  const client: any = new Client(url.replace("http://", ""), grpc.credentials.createInsecure());
  const unary = (name: string) =>
    new Promise<{ text: string }>((resolve, reject) =>
      client[name]("a", (error: unknown, response: { text: string }) =>
        error ? reject(error) : resolve(response),
      ),
    );
  expect((await unary("get")).text).toBe("A");
  expect((await collect(client.down("x"))).length).toBe(2);
  const up = await new Promise<{ text: string }>((resolve, reject) => {
    const stream = client.up((error: unknown, response: { text: string }) =>
      error ? reject(error) : resolve(response),
    );
    stream.write("a");
    stream.write("b");
    stream.end();
  });
  expect(up.text).toBe("ab");
  const chat = client.chat();
  chat.write("c");
  chat.end();
  expect(await collect(chat)).toMatchObject([{ text: "c!" }]);
  await expect(unary("slow")).rejects.toMatchObject({
    code: grpc.status.ALREADY_EXISTS,
    details: "no",
  });
  await expect(unary("none")).rejects.toMatchObject({ code: grpc.status.UNIMPLEMENTED });
  const overdue = new Promise((_, reject) =>
    client.two("a", { deadline: Date.now() + 200 }, (error: unknown) => reject(error)),
  );
  await expect(overdue).rejects.toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
  client.close();
});

test("a client of plain HTTP sends JSON and gets JSON, by POST and, for reads, by GET", async () => {
  await nats.worker(answers);
  const { url } = await gateway();
  const path = `${url}/test.v1.TestService`;
  const posted = await postJson(`${path}/Get`, { text: "abc" });
  expect(posted.status).toBe(200);
  expect(await posted.json()).toEqual({ text: "ABC" });
  const message = encodeURIComponent(JSON.stringify({ text: "abc" }));
  const got = await fetch(`${path}/Get?encoding=json&message=${message}`);
  expect(await got.json()).toEqual({ text: "ABC" });
  // A durable call waits for its end.
  expect(await (await postJson(`${path}/Do`, { text: "it" })).json()).toEqual({ text: "done it" });
});

test("messages go through as they are: fields that the gateway does not know, too", async () => {
  await nats.worker({
    get: ({ $unknown }) => Object.assign(create(ResponseSchema), { $unknown }),
  });
  const { url } = await gateway();
  // Field 9, length-delimited, and field 1 twice: a message that was read and written has it once.
  const body = new Uint8Array([0x4a, 2, 1, 2, 0x0a, 1, 97, 0x0a, 1, 98]);
  const response = await fetch(`${url}/test.v1.TestService/Get`, {
    method: "POST",
    headers: { "Content-Type": "application/proto" },
    body,
  });
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(body.subarray(0, 4));
});

test("a service and a method that appear later are served without a restart", async () => {
  const { url } = await gateway();
  const path = `${url}/test.v1.TestService`;
  expect((await postJson(`${path}/Get`, {})).status).toBe(404);

  const old = without(TestService, "Do");
  await worker(old as typeof TestService, { get: () => ({ text: "old" }) });
  await expect
    .poll(async () => (await postJson(`${path}/Get`, {})).json())
    .toEqual({ text: "old" });
  expect((await postJson(`${path}/Do`, {})).status).toBe(404);

  await nats.worker({ do: () => ({ text: "new" }) });
  await expect.poll(async () => (await postJson(`${path}/Do`, {})).status).toBe(200);
});

test("a method that no worker serves is Unavailable, and a path that leads nowhere is 404", async () => {
  const { url } = await gateway({ services: [TestService] });
  const nobody = await postJson(`${url}/test.v1.TestService/Get`, {});
  expect(nobody.status).toBe(503);
  expect(await nobody.json()).toMatchObject({ code: "unavailable" });
  for (const path of ["/", "/test.v1.TestService/Nothing", "/../../etc/passwd", "/a%2fb/C", "//"]) {
    const response = await postJson(`${url}${path}`, {});
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: "unimplemented" });
  }
});

test("headers of HTTP, and those that show who a client is, do not reach workers", async () => {
  let seen: [string, string][] = [];
  await nats.worker({
    get: (_request, { requestHeader, responseHeader }) => {
      seen = [...requestHeader];
      responseHeader.set("content-length", "1");
      responseHeader.set("transfer-encoding", "chunked");
      responseHeader.set("set-cookie", "a=b");
      responseHeader.set("x-kept", "1");
      return { text: "whole" };
    },
  });
  const { url } = await gateway();
  const response = await postJson(
    `${url}/test.v1.TestService/Get`,
    {},
    {
      Authorization: "Bearer secret",
      Cookie: "session=secret",
      "X-Forwarded-For": "1.2.3.4",
      "Nats-Msg-Id": "1",
      "Jetrpc-Timeout-Ms": "1",
      Traceparent: "00-1-2-01",
    },
  );
  expect(await response.json()).toEqual({ text: "whole" });
  expect(response.headers.get("set-cookie")).toBeNull();
  expect(response.headers.get("x-kept")).toBe("1");
  expect(seen).toEqual([["traceparent", "00-1-2-01"]]);
});

/** The same service as it was before it had a method. */
function without(service: DescService, name: string): DescService {
  const files = new Map<string, DescFile["proto"]>();
  const add = ({ proto, dependencies }: DescFile) => {
    dependencies.forEach(add);
    files.set(proto.name, proto);
  };
  add(service.file);
  const proto = create(FileDescriptorProtoSchema, {
    ...service.file.proto,
    service: service.file.proto.service.map((each) => ({
      ...each,
      method: each.method.filter((method) => method.name !== name),
    })),
  });
  files.set(proto.name, proto);
  const set = create(FileDescriptorSetSchema, { file: [...files.values()] });
  return createFileRegistry(set).getService(service.typeName) as DescService;
}
