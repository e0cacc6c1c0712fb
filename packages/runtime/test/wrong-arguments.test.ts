import { create, createFileRegistry, type DescService } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  Code,
  type Connection,
  createClient,
  createConnection,
  permanent,
  startWorker,
} from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { type BulkAct, createOperator } from "@jetrpc/runtime/operator";
import { expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, failureOf, type TestClient, useNats } from "./support.js";

const nats = useNats();

const file = { name: "empty.proto", package: "test.v1", service: [{ name: "EmptyService" }] };
const EmptyService = createFileRegistry(
  create(FileDescriptorProtoSchema, file),
  () => undefined,
).getService("test.v1.EmptyService") as DescService;

/** What callers without types give. */
const wrong = (value: unknown) => value as never;

interface Given {
  readonly connection: Connection;
  readonly client: TestClient;
}

const attempts: [string, string, (given: Given) => unknown][] = [
  ...[undefined, null, 5, {}].flatMap((service): (typeof attempts)[number][] => [
    [
      `createClient(${service})`,
      "this is no service",
      ({ connection }) => createClient(wrong(service), connection),
    ],
    [
      `startWorker(${service})`,
      "this is no service",
      ({ connection }) => startWorker(wrong(service), wrong({}), connection),
    ],
    [
      `createOperator(${service})`,
      "this is no service",
      ({ connection }) => createOperator(connection, wrong(service)),
    ],
    [
      `createConnection(${service})`,
      "this is no connection of the NATS client",
      () => createConnection(wrong(service)),
    ],
  ]),
  [
    "createClient(connection, service)",
    "this is no connection of jetrpc",
    ({ connection }) => createClient(wrong(connection), wrong(TestService)),
  ],
  [
    "serve(service, undefined)",
    "the handlers of test.v1.TestService are undefined",
    ({ connection }) => serve(TestService, wrong(undefined), { connection }),
  ],
  [
    "serve() of a service without methods",
    "of test.v1.EmptyService, which has none: add one",
    ({ connection }) => serve(EmptyService, {}, { connection }),
  ],
  [
    "serve() with one interceptor",
    "interceptors must be a list",
    ({ connection }) =>
      serve(TestService, { get: () => ({}) }, { connection, interceptors: wrong(() => undefined) }),
  ],
  [
    "serve() with no connection",
    "this is no connection of jetrpc",
    () => serve(TestService, { get: () => ({}) }, { connection: wrong("") }),
  ],
  [
    "connect(url)",
    "give the address as nats: { servers",
    () => connect(wrong("nats://127.0.0.1:1")),
  ],
  [
    "connect({ nats: url })",
    "give the address as nats: { servers",
    () => connect({ nats: wrong("nats://127.0.0.1:1") }),
  ],
  [
    "connect({ servers })",
    "give the address as nats: { servers",
    () => connect(wrong({ servers: "nats://127.0.0.1:1" })),
  ],
  [
    "createConnection() with one interceptor",
    "interceptors must be a list",
    ({ connection }) => createConnection(connection.nats, { interceptors: wrong(() => undefined) }),
  ],
  ...[undefined, 5, [{}], {}].flatMap((requests): (typeof attempts)[number][] => [
    [
      "up() without a stream",
      "rpc test.v1.TestService.Up streams its requests: give an AsyncIterable",
      ({ client }) => client.up(wrong(requests)),
    ],
    [
      "chat() without a stream",
      "rpc test.v1.TestService.Chat streams its requests",
      ({ client }) => collect(client.chat(wrong(requests))),
    ],
  ]),
  ...[new AbortController(), "x", null].flatMap((signal): (typeof attempts)[number][] => [
    [
      `get() with the signal ${signal}`,
      "signal is no AbortSignal",
      ({ client }) => client.get({}, { signal: wrong(signal) }),
    ],
    [
      `down() with the signal ${signal}`,
      "signal is no AbortSignal",
      async ({ client }) => collect(client.down({}, { signal: wrong(signal) })),
    ],
    [
      `submit() with the signal ${signal}`,
      "signal is no AbortSignal",
      ({ client }) => client.do.submit({}, { signal: wrong(signal) }),
    ],
    [
      `result() with the signal ${signal}`,
      "signal is no AbortSignal",
      ({ client }) => client.do.attach("a").result({ signal: wrong(signal) }),
    ],
    [
      `status() with the signal ${signal}`,
      "signal is no AbortSignal",
      ({ client }) => client.do.attach("a").status({ signal: wrong(signal) }),
    ],
  ]),
  [
    "submit(null)",
    "cannot serialize test.v1.Request",
    ({ client }) => client.do.submit(wrong(null)),
  ],
  [
    "submitAll(undefined)",
    "submitAll() takes an iterable",
    ({ client }) => collect(client.do.submitAll(wrong(undefined))),
  ],
  ["attach(5)", "call id of type number", ({ client }) => client.do.attach(wrong(5))],
  ['attach("")', 'call id ""', ({ client }) => client.do.attach("")],
  [
    "attach(undefined)",
    "call id of type undefined",
    ({ client }) => client.do.attach(wrong(undefined)),
  ],
  ...["retry", undefined].map((act): (typeof attempts)[number] => [
    `actOnCalls(${act})`,
    "there is no act",
    ({ connection }) => createOperator(connection, TestService).actOnCalls(act as BulkAct, {}),
  ]),
  [
    "actOnCalls() without a filter",
    "{} for all calls",
    ({ connection }) =>
      createOperator(connection, TestService).actOnCalls("cancel", wrong(undefined)),
  ],
  [
    'pause("Do", "tomorrow")',
    "tomorrow is no such time",
    ({ connection }) => createOperator(connection, TestService).pause("Do", wrong("tomorrow")),
  ],
];

test.each(attempts)("%s is refused at once, and says: %s", async (_, text, attempt) => {
  const connection = await nats.connect();
  const client = createClient<TestClient>(TestService, connection);
  const failure = await failureOf((async () => attempt({ connection, client }))());
  expect(failure).toMatchObject({ code: Code.InvalidArgument });
  expect(failure.rawMessage).toContain(text);
});

test("permanent() of a text is an error that is not attempted again", async () => {
  let runs = 0;
  await nats.worker({
    do: () => {
      runs++;
      throw permanent(wrong("no such page"));
    },
  });
  expect(await failureOf((await nats.client()).do({}))).toMatchObject({
    rawMessage: "no such page",
  });
  expect(runs).toBe(1);
});

const unreadable = new Proxy(
  {},
  {
    get() {
      throw new Error("not to be read");
    },
  },
);

test.each([
  ["a text", "stop", "the call was canceled: stop"],
  ["an Error", new Error("not needed"), "the call was canceled: not needed"],
  ["none", undefined, "the call was canceled"],
  ["what cannot be read", unreadable, "the call was canceled: what was thrown has no text"],
])("a call that is aborted with %s tells it", async (_, reason, rawMessage) => {
  await nats.worker({ get: () => ({}), down: async function* () {} });
  const client = await nats.client();
  for (const call of [
    client.get,
    (_: object, options: object) => collect(client.down({}, options)),
  ]) {
    const error = await failureOf(call({}, { signal: AbortSignal.abort(reason) }));
    expect(error).toMatchObject({ code: Code.Canceled, rawMessage });
  }
});
