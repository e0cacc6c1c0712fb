import { create, createFileRegistry, type DescService, type Message } from "@bufbuild/protobuf";
import {
  type Any,
  AnySchema,
  anyPack,
  anyUnpack,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  file_google_protobuf_any,
  MethodOptions_IdempotencyLevel,
} from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, startWorker } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { headers } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";
import { ResponseSchema } from "./gen/test/v1/test_pb.js";
import { collect, until, useNats } from "./support.js";

const nats = useNats();

function jsonHeaders() {
  const all = headers();
  all.set("Content-Type", "application/json");
  return all;
}

/** A service whose messages hold anything, made as a client without generated code has it. */
function anyService(): DescService {
  const field = {
    name: "any",
    jsonName: "any",
    number: 1,
    label: FieldDescriptorProto_Label.OPTIONAL,
    type: FieldDescriptorProto_Type.MESSAGE,
    typeName: ".google.protobuf.Any",
  };
  const name = {
    name: "name",
    jsonName: "name",
    number: 1,
    label: FieldDescriptorProto_Label.OPTIONAL,
    type: FieldDescriptorProto_Type.STRING,
  };
  const types = { inputType: ".any.v1.Holder", outputType: ".any.v1.Holder" };
  const file = create(FileDescriptorProtoSchema, {
    name: "any/v1/any.proto",
    package: "any.v1",
    syntax: "proto3",
    dependency: ["google/protobuf/any.proto"],
    messageType: [
      { name: "Holder", field: [field] },
      { name: "Held", field: [name] },
    ],
    service: [
      {
        name: "AnyService",
        method: [
          {
            name: "Get",
            ...types,
            options: { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS },
          },
          { name: "Do", ...types },
        ],
      },
    ],
  });
  const registry = createFileRegistry(file, () => file_google_protobuf_any);
  return registry.getService("any.v1.AnyService") as DescService;
}

type Holder = Message & { any?: Any };

describe("a field of Any", () => {
  const service = anyService();
  const held = service.file.messages.find(({ name }) => name === "Held");
  const typeUrl = "type.googleapis.com/any.v1.Held";

  test("may hold what the service's file has, both ways", async () => {
    if (!held) {
      throw new Error("no message");
    }
    const connection = await nats.connect();
    const handler = (request: Holder): Partial<Holder> => {
      const { name } = anyUnpack(request.any ?? create(AnySchema), held) as unknown as {
        name: string;
      };
      return { any: anyPack(held, create(held, { name: `${name}!` })) };
    };
    const worker = await startWorker(service, { get: handler } as never, connection);
    const body = JSON.stringify({ any: { "@type": typeUrl, name: "Ada" } });
    const reply = await connection.nats.request("any.v1.AnyService.rpc.Get", body, {
      headers: jsonHeaders(),
      timeout: 60_000,
    });
    expect(reply.json()).toEqual({ any: { "@type": typeUrl, name: "Ada!" } });
    // A type that the file knows nothing of.
    const other = JSON.stringify({ any: { "@type": "type.googleapis.com/other.v1.Other" } });
    const refused = await connection.nats.request("any.v1.AnyService.rpc.Get", other, {
      headers: jsonHeaders(),
      timeout: 60_000,
    });
    expect(refused.json()).toMatchObject({ code: "invalid_argument" });
    await worker.drain();
  });

  test("may be queued by hand, and is shown of a dead letter", async () => {
    const connection = await nats.connect();
    const fail = () => {
      throw new ConnectError("no", Code.NotFound);
    };
    const worker = await startWorker(service, { do: fail } as never, connection);
    const body = JSON.stringify({ any: { "@type": typeUrl, name: "Ada" } });
    const subject = "any.v1.AnyService.queue.Do._._.by-hand";
    await connection.nats.request(subject, body, { headers: jsonHeaders(), timeout: 60_000 });
    const client = createClient<{ do: { attach(id: string): { result(): Promise<unknown> } } }>(
      service,
      connection,
    );
    await expect(client.do.attach("by-hand").result()).rejects.toMatchObject({
      code: Code.NotFound,
    });
    const operator = createOperator(connection, service);
    await until(async () => (await collect(operator.deadLetters())).length === 1);
    const [letter] = await collect(operator.deadLetters());
    expect(await letter?.toJson()).toMatchObject({
      request: { any: { "@type": typeUrl, name: "Ada" } },
    });
    await worker.drain();
  });
});

describe("an error in JSON", () => {
  const ask = async (body = "{}") => {
    const root = await nats.connect();
    return await root.nats.request("test.v1.TestService.rpc.Get", body, {
      headers: jsonHeaders(),
      timeout: 60_000,
    });
  };

  const codes = Object.values(Code).filter((code): code is Code => typeof code === "number");

  test("has code and details as Connect writes them", async () => {
    const names: string[] = [];
    let code = Code.Canceled;
    const value = { text: "more" };
    await nats.worker({
      get: () => {
        throw new ConnectError("no", code, undefined, [{ desc: ResponseSchema, value }]);
      },
    });
    for (code of codes) {
      const error = (await ask()).json() as { code: string };
      names.push(error.code);
      expect(error).toEqual({
        code: expect.any(String),
        message: "no",
        // Base64 without padding of (hex) 0a 04 6d 6f 72 65.
        details: [{ type: "test.v1.Response", value: "CgRtb3Jl" }],
      });
    }
    // As https://connectrpc.com/docs/protocol#error-codes lists them.
    expect(names).toEqual([
      "canceled",
      "unknown",
      "invalid_argument",
      "deadline_exceeded",
      "not_found",
      "already_exists",
      "permission_denied",
      "resource_exhausted",
      "failed_precondition",
      "aborted",
      "out_of_range",
      "unimplemented",
      "internal",
      "unavailable",
      "data_loss",
      "unauthenticated",
    ]);
  });

  test("that is too large is cut, and says so", async () => {
    const detail = { desc: ResponseSchema, value: { data: new Uint8Array(800_000) } };
    const small = { desc: ResponseSchema, value: { text: "more" } };
    await nats.worker({
      get: () => {
        throw new ConnectError("no", Code.NotFound, undefined, [detail, small]);
      },
    });
    expect((await ask()).json()).toEqual({
      code: "not_found",
      message: "no (left out: 1 of 2 details, for their size)",
      details: [{ type: "test.v1.Response", value: "CgRtb3Jl" }],
    });
  });
});

test("a field that the schema does not have is left out of a request in JSON, as in Connect", async () => {
  await nats.worker({ get: ({ text }) => ({ text }) });
  const root = await nats.connect();
  const body = '{ "text": "hello", "newer": 1 }';
  const options = { headers: jsonHeaders(), timeout: 60_000 };
  const reply = await root.nats.request("test.v1.TestService.rpc.Get", body, options);
  expect(reply.json()).toEqual({ text: "hello" });
});
