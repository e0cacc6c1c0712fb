import { createFileRegistry, type DescService } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  checkHealth,
  createClient,
  describeService,
  listServices,
} from "@jetrpc/runtime";
import { bindService } from "@jetrpc/runtime/schema";
import { Ajv } from "ajv";
import { describe, expect, test } from "vitest";
import { fileSetOf } from "./file-set.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { microSchemas } from "./micro-schemas.js";
import {
  collect,
  failureOf,
  gate,
  listedServices,
  patientDrain,
  type TestClient,
  useNats,
} from "./support.js";

const nats = useNats();
const name = "test_v1_TestService";

/** The first answer is enough: on a busy machine it may come late. */
const patiently = { timeoutMs: 60_000 };

interface Endpoint {
  name: string;
  subject: string;
  num_requests: number;
  num_errors: number;
  last_error: string;
  processing_time: number;
  average_processing_time: number;
}

/** What one service answers on a subject. */
async function ask(subject: string): Promise<{ id: string; endpoints: Endpoint[] }> {
  const { nats: connection } = await nats.connect({ as: "observer" });
  return (await connection.request(subject, "", { timeout: 60_000 })).json();
}

describe("NATS micro", () => {
  test.each(["PING", "INFO", "STATS"] as const)("%s is answered by the rules", async (verb) => {
    await nats.worker(
      { get: () => ({}), do: () => ({}), chat: async function* () {} },
      { version: "1.2.3-rc.1+build" },
    );
    const validate = new Ajv({ strict: false }).compile(microSchemas[verb]);
    const { id } = await ask("$SRV.PING");
    for (const subject of [`$SRV.${verb}`, `$SRV.${verb}.${name}`, `$SRV.${verb}.${name}.${id}`]) {
      const reply = await ask(subject);
      expect(validate(reply), JSON.stringify(validate.errors)).toBe(true);
      expect(reply).toMatchObject({ name, id, version: "1.2.3-rc.1+build" });
    }
  });

  test("INFO says where methods are and what they take", async () => {
    await nats.worker({ get: () => ({}), count: async function* () {} });
    const { endpoints } = await ask("$SRV.INFO");
    expect(endpoints).toEqual([
      {
        name: "Get",
        subject: "test.v1.TestService.rpc.Get",
        queue_group: "q",
        metadata: {
          "jetrpc-delivery": "direct",
          "jetrpc-kind": "unary",
          "jetrpc-input": "test.v1.Request",
          "jetrpc-output": "test.v1.Response",
        },
      },
      {
        name: "Count",
        subject: "test.v1.TestService.durable.Count",
        queue_group: "q",
        metadata: {
          "jetrpc-delivery": "durable",
          "jetrpc-kind": "server_streaming",
          "jetrpc-input": "test.v1.Request",
          "jetrpc-output": "test.v1.Response",
        },
      },
    ]);
  });

  test("what is sent where a durable method says that it listens is refused, and not stored", async () => {
    await nats.worker({ count: async function* () {} });
    const { nats: root } = await nats.connect();
    const { endpoints } = await ask("$SRV.INFO");
    const { headers } = await root.request(endpoints[0]?.subject ?? "", "{}");
    expect(headers?.get("Nats-Service-Error-Code")).toBe(`${Code.Unimplemented}`);
    expect(headers?.get("Nats-Service-Error")).toContain("Count is durable");
    const info = await root.request("$JS.API.STREAM.INFO.TEST");
    expect(info.json()).toMatchObject({ state: { messages: 0 } });
  });

  test("STATS counts requests, errors, and the whole time of handlers", async () => {
    await nats.worker({
      get: async ({ text }) => {
        await new Promise((resolve) => setTimeout(resolve, 30));
        if (text === "fail") {
          throw new ConnectError("no such thing", Code.NotFound);
        }
        if (text === "break") {
          throw new Error("secret");
        }
        return {};
      },
      async *down() {
        yield {};
        throw new ConnectError("enough", Code.Aborted);
      },
      do: () => {
        throw new ConnectError("bad", Code.InvalidArgument);
      },
    });
    const client = await nats.client();
    await client.get({});
    await client.get({ text: "fail" }).catch(() => undefined);
    await collect(client.down({})).catch(() => undefined);
    await client.do({}).catch(() => undefined);
    const { endpoints } = await ask(`$SRV.STATS.${name}`);
    const stats = (method: string) => endpoints.find((each) => each.name === method);
    expect(stats("Get")).toMatchObject({
      num_requests: 2,
      num_errors: 1,
      last_error: "NotFound: no such thing",
    });
    // Two handlers of 30 ms, in ns; timers may be early by a part of a ms.
    expect(stats("Get")?.processing_time).toBeGreaterThan(58e6);
    expect(stats("Get")?.average_processing_time).toBeGreaterThan(29e6);
    expect(stats("Down")).toMatchObject({ num_requests: 1, num_errors: 1 });
    expect(stats("Do")).toMatchObject({ num_requests: 1, num_errors: 1 });
    await client.get({ text: "break" }).catch(() => undefined);
    expect(JSON.stringify(await ask(`$SRV.STATS.${name}`))).not.toContain("secret");
  });

  test("refuses what is no version", async () => {
    await expect(nats.worker({ get: () => ({}) }, { version: "v1" })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("1.2.3"),
    });
  });
});

describe("listServices", () => {
  test("lists every worker and what it implements", async () => {
    const connection = await nats.connect({ as: "observer" });
    expect(await listServices(connection)).toEqual([]);
    await nats.worker({ get: () => ({}) }, { version: "1.0.0" });
    await nats.worker({ get: () => ({}), chat: async function* () {} }, { version: "2.0.0" });
    const services = await listedServices(connection, 2);
    expect(services).toHaveLength(2);
    expect(services.map((each) => each.version).sort()).toEqual(["1.0.0", "2.0.0"]);
    expect(services.find((each) => each.version === "2.0.0")).toMatchObject({
      typeName: "test.v1.TestService",
      status: "SERVING",
      methods: [
        { name: "Get", kind: "unary", delivery: "direct", input: "test.v1.Request" },
        { name: "Chat", kind: "bidi_streaming", delivery: "direct", output: "test.v1.Response" },
      ],
    });
  });
});

describe("describeService", () => {
  test("gives a client all that it needs, options included", async () => {
    await nats.worker({
      get: ({ text }) => ({ text }),
      do: ({ text }) => ({ text }),
      async *down({ text }) {
        yield { text };
      },
    });
    const connection = await nats.connect({ as: "client" });
    const described = await describeService(connection, TestService.typeName, patiently);
    expect(described).not.toBe(TestService);
    const plain = (service: DescService) =>
      JSON.stringify(bindService(service), (key, value) =>
        key === "desc" || key === "service"
          ? value.typeName
          : value instanceof Map
            ? [...value]
            : value,
      );
    expect(plain(described)).toBe(plain(TestService));
    const client = createClient<TestClient>(described, connection);
    expect((await client.get({ text: "no .proto" })).text).toBe("no .proto");
    expect((await client.do({ text: "durable" })).text).toBe("durable");
    expect((await collect(client.down({ text: "stream" })))[0]?.text).toBe("stream");
  });

  test("throws Unavailable when no worker answers", async () => {
    const connection = await nats.connect();
    await expect(describeService(connection, "no.such.Service")).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("no.such.Service"),
    });
  });
});

test.each(["a b", "*", ">", "", "a..b", undefined])("%j is no name of a service", async (name) => {
  const connection = await nats.connect();
  for (const ask of [checkHealth, describeService]) {
    expect(await failureOf(ask(connection, name as string))).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining(`${JSON.stringify(name)} is no name of a service`),
    });
  }
  const timeoutMs = Number.NaN;
  const wait = await failureOf(checkHealth(connection, TestService.typeName, { timeoutMs }));
  expect(wait.rawMessage).toContain("timeoutMs is NaN");
});

describe("checkHealth", () => {
  test("follows the life of workers", async () => {
    const connection = await nats.connect({ as: "observer" });
    // On a busy machine an answer may come too late.
    const health = () => expect.poll(() => checkHealth(connection, TestService.typeName));
    await health().toBe("SERVICE_UNKNOWN");
    const started = gate();
    const finish = gate();
    const worker = await nats.worker(
      {
        get: async () => {
          started.open();
          await finish.opened;
          return {};
        },
      },
      patientDrain,
    );
    await health().toBe("SERVING");
    const client = await nats.client();
    const call = client.get({});
    await started.opened;
    const drained = worker.drain();
    await health().toBe("NOT_SERVING");
    const second = await nats.worker({ get: () => ({}) });
    await health().toBe("SERVING");
    await second.drain();
    finish.open();
    await call;
    await drained;
    await health().toBe("SERVICE_UNKNOWN");
  });
});

describe("a method that nobody serves", () => {
  /** Its own time-out is short for a busy machine. */
  const patient = { timeoutMs: 60_000 };

  /** The service as a newer schema has it. */
  function newerService(): DescService {
    const set = fileSetOf(TestService.file);
    const service = set.file.at(-1)?.service[0];
    const get = service?.method.find((method) => method.name === "Get");
    if (!service || !get) {
      throw new Error("no method Get");
    }
    service.method.push({ ...get, name: "Newer" });
    return createFileRegistry(set).getService(TestService.typeName) as DescService;
  }

  test("is Unimplemented when the workers' schema does not know it", async () => {
    const connection = await nats.connect();
    const client = createClient<{ newer(request: object): Promise<unknown> }>(
      newerService(),
      connection,
    );
    await expect(client.newer({})).rejects.toMatchObject({ code: Code.Unavailable });
    await nats.worker({ get: () => ({}) });
    await expect(client.newer({})).rejects.toMatchObject({
      code: Code.Unimplemented,
      rawMessage: expect.stringContaining("no method Newer"),
    });
  });

  test("is Unavailable when its workers are not there", async () => {
    await nats.worker({ get: () => ({}) });
    const client = await nats.client();
    await expect(client.slow({}, patient)).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("though others of its methods are served"),
    });
    await expect(collect(client.down({}))).rejects.toMatchObject({ code: Code.Unavailable });
  });

  test("is Unimplemented when a worker answers for the whole service", async () => {
    await nats.worker({ get: () => ({}) }, { answerUnimplemented: true });
    const client = await nats.client();
    for (const call of [
      () => client.slow({}, patient),
      () => collect(client.down({})),
      () => client.up((async function* () {})()),
      () => client.do({}),
      () => collect(client.count({})),
    ]) {
      await expect(call()).rejects.toMatchObject({ code: Code.Unimplemented });
    }
  });
});
