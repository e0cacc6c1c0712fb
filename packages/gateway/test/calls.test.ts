import { create, createRegistry } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { expect, test } from "vitest";
import {
  RequestSchema,
  ResponseSchema,
  TestService,
} from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf, gate, until } from "../../runtime/test/support.js";
import { CallPriority, CallState } from "../src/gen/jetrpc/v1/call_service_pb.js";
import { CallService } from "../src/index.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway } = useGateway();

const doMethod = "test.v1.TestService/Do";
const countMethod = "test.v1.TestService/Count";
const requestOf = (text: string, count = 0) =>
  anyPack(RequestSchema, create(RequestSchema, { text, count }));

const jsonOptions = { registry: createRegistry(RequestSchema, ResponseSchema) };

const transports: [string, (baseUrl: string) => Transport][] = [
  ["Connect", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" })],
  [
    "connect-web, JSON by GET",
    (baseUrl) => web.createConnectTransport({ baseUrl, useHttpGet: true, jsonOptions }),
  ],
  ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl })],
];

test.each(transports)("%s: a call is submitted, followed, and read", async (_name, make) => {
  const steps = [gate(), gate()];
  let seen: string | null = null;
  await nats.worker({
    do: async ({ text }, context) => {
      seen = context.requestHeader.get("x-sent");
      context.progress({ done: 1, total: 2 });
      await steps[0]?.opened;
      return { text: `done ${text}` };
    },
    async *count({ count }) {
      yield { index: 0 };
      await steps[1]?.opened;
      for (let index = 1; index < count; index++) {
        yield { index };
      }
    },
  });
  const { url } = await gateway();
  const calls = createClient(CallService, make(url));
  const submitted = await calls.submit(
    { method: doMethod, request: requestOf("it"), callId: "one" },
    { headers: { "X-Sent": "hello" } },
  );
  expect(submitted).toMatchObject({ method: doMethod, callId: "one" });
  const call = { method: doMethod, callId: "one" };
  const updates: string[] = [];
  for await (const { update } of calls.follow(call)) {
    updates.push(update.case === "status" ? CallState[update.value.state] : (update.case ?? ""));
    if (update.case === "progress") {
      expect(update.value).toMatchObject({ done: 1, total: 2 });
      steps[0]?.open();
    }
  }
  expect(updates.at(0)).toMatch(/QUEUED|RUNNING/);
  expect(updates.slice(1)).toEqual(["progress", "SUCCEEDED"]);
  expect(seen).toBe("hello");
  const { response } = await calls.result(call);
  expect(response && anyUnpack(response, ResponseSchema)?.text).toBe("done it");
  expect((await collect(calls.messages(call))).length).toBe(1);
  expect(await calls.cancel(call)).toMatchObject({ cancelled: false });
  const status = await calls.status(call);
  expect(status.state).toBe(CallState.SUCCEEDED);
  expect(status.endedAt).toBeDefined();

  // Left after the first message, and gone on with.
  const { callId } = await calls.submit({ method: countMethod, request: requestOf("", 4) });
  const stream = { method: countMethod, callId };
  const leaving = new AbortController();
  const heard: number[] = [];
  await failureOf(
    (async () => {
      for await (const { index } of calls.messages(stream, { signal: leaving.signal })) {
        heard.push(index);
        leaving.abort();
      }
    })(),
  );
  steps[1]?.open();
  for await (const { index, message } of calls.messages({ ...stream, from: heard.length })) {
    expect(message && anyUnpack(message, ResponseSchema)?.index).toBe(index);
    heard.push(index);
  }
  expect(heard).toEqual([0, 1, 2, 3]);
});

test("a call that fails tells its attempts, and gives its error with metadata", async () => {
  await nats.worker({
    do: () => {
      throw new ConnectError("no such document", Code.NotFound, {
        "x-why": "gone",
        "content-length": "1",
      });
    },
  });
  const { url } = await gateway();
  const calls = createClient(
    CallService,
    createConnectTransport({ baseUrl: url, httpVersion: "1.1" }),
  );
  const call = await calls.submit({ method: doMethod, request: requestOf("") });
  const target = { method: doMethod, callId: call.callId };
  for (const wait of [calls.result(target), collect(calls.messages(target))]) {
    const error = await failureOf(wait);
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: "no such document" });
    expect(error.metadata.get("x-why")).toBe("gone");
  }
  expect(await calls.status(target)).toMatchObject({
    state: CallState.FAILED,
    error: { code: "not_found", message: "no such document" },
  });
});

test("a call is canceled, delayed, limited in time, and has a priority", async () => {
  const order: string[] = [];
  const { opened, open } = gate();
  await nats.worker({
    urgent: async ({ text }) => {
      order.push(text);
      await opened;
      return {};
    },
  });
  const { url } = await gateway();
  const calls = createClient(CallService, createGrpcTransport({ baseUrl: url }));
  const method = "test.v1.TestService/Urgent";
  const submit = (text: string, priority?: CallPriority) =>
    calls.submit({ method, request: requestOf(text), callId: text, ...(priority && { priority }) });
  await submit("first");
  await until(() => order.length === 1);
  await submit("low", CallPriority.LOW);
  await submit("high", CallPriority.HIGH);
  const later = await calls.submit({
    method,
    request: requestOf("later"),
    notBefore: { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) },
  });
  const delayed = { method, callId: later.callId };
  expect((await calls.status(delayed)).state).toBe(CallState.SCHEDULED);
  expect(await calls.cancel(delayed)).toMatchObject({ cancelled: true });
  expect((await calls.status(delayed)).state).toBe(CallState.CANCELLED);
  await calls.submit({
    method,
    request: requestOf("short"),
    callId: "short",
    timeout: { nanos: 1_000_000 },
  });
  await expect
    .poll(async () => (await calls.status({ method, callId: "short" })).state)
    .toBe(CallState.EXPIRED);
  open();
  await calls.result({ method, callId: "low" });
  expect(order).toEqual(["first", "high", "low"]);
});

test("what cannot be submitted or found is refused with what is wrong", async () => {
  const { url } = await gateway({ services: [TestService] });
  const calls = createClient(
    CallService,
    createConnectTransport({ baseUrl: url, httpVersion: "2" }),
  );
  const refused = async (call: Promise<unknown>) => {
    const { code, rawMessage } = await failureOf(call);
    return [code, rawMessage];
  };
  expect(await refused(calls.submit({ method: "a.B/C", request: requestOf("") }))).toEqual([
    Code.Unimplemented,
    "no service here has /a.B/C",
  ]);
  expect(await refused(calls.submit({ method: "test.v1.TestService/Get" }))).toEqual([
    Code.FailedPrecondition,
    expect.stringContaining("direct method"),
  ]);
  expect(await refused(calls.submit({ method: doMethod }))).toEqual([
    Code.InvalidArgument,
    expect.stringContaining("type.googleapis.com/test.v1.Request, and got none"),
  ]);
  const other = anyPack(ResponseSchema, create(ResponseSchema, {}));
  expect((await refused(calls.submit({ method: doMethod, request: other })))[0]).toBe(
    Code.InvalidArgument,
  );
  const two = calls.submit(
    { method: doMethod, request: requestOf(""), callId: "a" },
    { headers: { "Idempotency-Key": "b" } },
  );
  expect(await refused(two)).toEqual([Code.InvalidArgument, expect.stringContaining("two ids")]);
  const bad = calls.submit({ method: doMethod, request: requestOf(""), callId: "no spaces" });
  expect((await refused(bad))[0]).toBe(Code.InvalidArgument);
  const unknown = { method: doMethod, callId: "unknown" };
  for (const ask of [calls.status, calls.result, calls.cancel]) {
    expect((await refused(ask(unknown)))[0]).toBe(Code.NotFound);
  }
});

test("Idempotency-Key is the id of a plain call: repeated by another client, it runs once", async () => {
  let runs = 0;
  await nats.worker({
    do: ({ text }) => {
      runs += 1;
      return { text: `${text} ${runs}` };
    },
    async *count({ count }) {
      runs += 1;
      for (let index = 0; index < count; index++) {
        yield { index };
      }
    },
  });
  const { url } = await gateway();
  const key = { "Idempotency-Key": "order-1" };
  for (const make of [0, 1]) {
    const response = await postJson(`${url}/${doMethod}`, { text: "run" }, key);
    expect([make, await response.json()]).toEqual([make, { text: "run 1" }]);
  }
  const other = await postJson(`${url}/${doMethod}`, { text: "another" }, key);
  expect(other.status).toBe(409);
  runs = 0;
  for (const transport of transports) {
    const client = createClient(TestService, transport[1](url));
    const messages = await collect(client.count({ count: 3 }, { headers: key }));
    expect(messages.map(({ index }) => index)).toEqual([0, 1, 2]);
  }
  expect(runs).toBe(1);
});

test("with Prefer: respond-async curl gets 202, and links to status and result", async () => {
  const { opened, open } = gate();
  await nats.worker({
    do: async ({ text }) => {
      await opened;
      return { text: text.toUpperCase() };
    },
    get: () => ({ text: "direct" }),
  });
  const { url } = await gateway();
  const headers = { Prefer: "respond-async", "Idempotency-Key": "curl-1" };
  const accepted = await postJson(`${url}/${doMethod}`, { text: "abc" }, headers);
  expect(accepted.status).toBe(202);
  expect(accepted.headers.get("preference-applied")).toBe("respond-async");
  const body = (await accepted.json()) as Record<string, string>;
  expect(body).toMatchObject({ method: doMethod, callId: "curl-1" });
  const location = accepted.headers.get("location") ?? "";
  expect(body["status"]).toBe(location);
  const status = await (await fetch(url + location)).json();
  expect(status).toMatchObject({ state: expect.stringMatching(/QUEUED|RUNNING/) });
  open();
  const result = await (await fetch(url + body["result"])).json();
  expect(result).toEqual({
    response: { "@type": "type.googleapis.com/test.v1.Response", text: "ABC" },
  });
  expect(await (await fetch(url + location)).json()).toMatchObject({
    state: "CALL_STATE_SUCCEEDED",
  });
  const again = await postJson(`${url}/${doMethod}`, { text: "abc" }, headers);
  expect(again.status).toBe(202);
  expect((await postJson(`${url}/${doMethod}`, { text: "other" }, headers)).status).toBe(409);
  expect((await postJson(`${url}/${doMethod}`, "{", headers)).status).toBe(400);
  const large = { text: "x".repeat(5 * 1024 * 1024) };
  expect((await postJson(`${url}/${doMethod}`, large, headers)).status).toBe(429);
  // A method that stores nothing is answered as ever.
  const direct = await postJson(`${url}/test.v1.TestService/Get`, {}, headers);
  expect(await direct.json()).toEqual({ text: "direct" });
  // A method with a streamed response, and a request as bytes.
  const streamed = await postJson(`${url}/${countMethod}`, {}, { Prefer: "wait=5, respond-async" });
  expect(streamed.status).toBe(202);
});

test("an owner does not see, read or end the calls of another", async () => {
  const { opened, open } = gate();
  await nats.worker({
    do: async ({ text }) => {
      await opened;
      return { text };
    },
  });
  const { url } = await gateway({
    authenticate: ({ headers }) => ({
      owner: headers.get("x-token") ?? "nobody",
      ...(headers.get("x-token") === "globex" && { methods: ["test.v1.TestService"] }),
      ...(headers.get("x-token") === "reader" && { methods: ["test.v1.TestService/Get"] }),
    }),
  });
  const as = (owner: string, more: Record<string, string> = {}) => {
    const calls = createClient(CallService, createGrpcTransport({ baseUrl: url }));
    const options = { headers: { "X-Token": owner, ...more } };
    const call = { method: doMethod, callId: "secret" };
    return {
      submit: (text: string) => calls.submit({ ...call, request: requestOf(text) }, options),
      read: () => calls.result(call, options),
      all: () => [
        calls.status(call, options),
        calls.result(call, options),
        collect(calls.follow(call, options)),
        collect(calls.messages(call, options)),
        calls.cancel(call, options),
      ],
    };
  };
  await as("acme").submit("of acme");
  const forged = { "Jetrpc-Owner": "acme", "X-Owner": "acme", Owner: "acme" };
  for (const each of [as("globex"), as("globex", forged)]) {
    const codes = (await Promise.all(each.all().map(failureOf))).map(({ code }) => code);
    expect(codes).toEqual(codes.map(() => Code.NotFound));
  }
  // One that may not call the method may not look at its calls either.
  const reads = [...as("reader").all(), as("reader").submit("x")];
  const refused = (await Promise.all(reads.map(failureOf))).map(({ code }) => code);
  expect(refused).toEqual(refused.map(() => Code.PermissionDenied));
  await as("globex").submit("of globex");
  open();
  const textOf = async (owner: string) => {
    const { response } = await as(owner).read();
    return response && anyUnpack(response, ResponseSchema)?.text;
  };
  expect(await textOf("acme")).toBe("of acme");
  expect(await textOf("globex")).toBe("of globex");
});
