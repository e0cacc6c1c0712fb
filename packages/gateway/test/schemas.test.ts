import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { startWorker } from "@jetrpc/runtime";
import { afterEach, describe, expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import {
  Health,
  HealthCheckRequestSchema,
  type HealthCheckResponse,
  HealthCheckResponseSchema,
  HealthListRequestSchema,
  HealthListResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../src/gen/grpc/health/v1/health_pb.js";
import {
  ExtensionRequestSchema,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from "../src/gen/grpc/reflection/v1/reflection_pb.js";
import type { Authenticate } from "../src/index.js";
import { useGateway } from "./support.js";

const { nats, gateway } = useGateway();

const clients: grpc.Client[] = [];
afterEach(() => clients.splice(0).map((client) => client.close()));

/** A client of grpc-js, which shares no code with the gateway. */
function clientOf(url: string): grpc.Client {
  const client = new grpc.Client(new URL(url).host, grpc.credentials.createInsecure());
  clients.push(client);
  return client;
}

const own = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
  "jetrpc.v1.CallService",
];
const name = TestService.typeName;

const byName: Authenticate = ({ headers }) => {
  const may = headers.get("x-may");
  return may === null ? undefined : { methods: may.split(",") };
};

function metadataOf(may?: string): grpc.Metadata {
  const metadata = new grpc.Metadata();
  if (may !== undefined) {
    metadata.set("x-may", may);
  }
  return metadata;
}

describe("health", () => {
  function check(client: grpc.Client, service: string, may?: string): Promise<ServingStatus> {
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/${Health.typeName}/Check`,
        (message) => Buffer.from(toBinary(HealthCheckRequestSchema, message)),
        (bytes) => fromBinary(HealthCheckResponseSchema, bytes),
        create(HealthCheckRequestSchema, { service }),
        metadataOf(may),
        (error, response) =>
          error ? reject(error) : resolve((response as HealthCheckResponse).status),
      );
    });
  }

  test("a service is well while a worker serves it; so are the gateway and its own services", async () => {
    const { url } = await gateway();
    const client = clientOf(url);
    for (const service of ["", ...own]) {
      expect(await check(client, service)).toBe(ServingStatus.SERVING);
    }
    for (const unknown of [name, "none.v1.None", "a..b", "a.", "*", "a b", ">", "$SRV"]) {
      await expect(check(client, unknown)).rejects.toMatchObject({ code: grpc.status.NOT_FOUND });
    }
    await nats.worker({ get: () => ({}) });
    await expect.poll(() => check(client, name).catch(() => undefined)).toBe(ServingStatus.SERVING);
  });

  test("who watches hears when a worker comes, when it has gone, and when the gateway stops", async () => {
    const { url, drain } = await gateway({ services: [TestService] });
    const heard: ServingStatus[] = [];
    const stream = clientOf(url).makeServerStreamRequest(
      `/${Health.typeName}/Watch`,
      (message) => Buffer.from(toBinary(HealthCheckRequestSchema, message)),
      (bytes) => fromBinary(HealthCheckResponseSchema, bytes),
      create(HealthCheckRequestSchema, { service: name }),
      metadataOf(),
    );
    stream.on("data", ({ status }: HealthCheckResponse) => void heard.push(status));
    const failed = new Promise<grpc.ServiceError>((resolve) => stream.once("error", resolve));
    await expect.poll(() => heard).toEqual([ServingStatus.NOT_SERVING]);
    const connection = await nats.connect();
    const serve = () => startWorker(TestService, { get: () => ({}) }, connection);
    const first = await serve();
    await expect.poll(() => heard).toEqual([ServingStatus.NOT_SERVING, ServingStatus.SERVING]);
    await first.drain();
    await expect.poll(() => heard.length).toBe(3);
    const second = await serve();
    await expect.poll(() => heard.length).toBe(4);
    await drain();
    expect((await failed).code).toBe(grpc.status.UNAVAILABLE);
    expect(heard.slice(2)).toEqual([
      ServingStatus.NOT_SERVING,
      ServingStatus.SERVING,
      ServingStatus.NOT_SERVING,
    ]);
    await second.drain();
  });

  test("a stranger learns of the gateway only, and an identity of what it may call", async () => {
    await nats.worker({ get: () => ({}) });
    const { url } = await gateway({ authenticate: byName });
    const client = clientOf(url);
    expect(await check(client, "")).toBe(ServingStatus.SERVING);
    for (const service of [name, "none.v1.None", ...own]) {
      await expect(check(client, service)).rejects.toMatchObject({
        code: grpc.status.UNAUTHENTICATED,
      });
    }
    expect(await check(client, name, `${name}/Get`)).toBe(ServingStatus.SERVING);
    for (const service of [name, "none.v1.None"]) {
      await expect(check(client, service, "other.v1.Other")).rejects.toMatchObject({
        code: grpc.status.PERMISSION_DENIED,
      });
    }
    const list = (may?: string) =>
      new Promise<string[]>((resolve, reject) => {
        client.makeUnaryRequest(
          `/${Health.typeName}/List`,
          (message) => Buffer.from(toBinary(HealthListRequestSchema, message)),
          (bytes) => fromBinary(HealthListResponseSchema, bytes),
          create(HealthListRequestSchema),
          metadataOf(may),
          (error, response) =>
            error ? reject(error) : resolve(Object.keys(response?.statuses ?? {})),
        );
      });
    expect((await list(name)).sort()).toEqual(["", ...own, name].sort());
    expect(await list("other.v1.Other")).not.toContain(name);
    expect(await list()).not.toContain(name);
  });
});

describe.each(["v1", "v1alpha"])("reflection %s", (version) => {
  type Question = ServerReflectionRequest["messageRequest"];

  /** What a client gets: files, names of services, numbers of extensions, or the code of an error. */
  interface Answer {
    readonly files: FileDescriptorProto[];
    readonly names: string[];
    readonly numbers: number[];
    readonly code: number;
  }

  /** Asks over one stream. */
  async function ask<const Q extends readonly Question[]>(
    url: string,
    questions: Q,
    may?: string,
  ): Promise<{ [I in keyof Q]: Answer }> {
    const stream = clientOf(url).makeBidiStreamRequest(
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      (message: ServerReflectionRequest) =>
        Buffer.from(toBinary(ServerReflectionRequestSchema, message)),
      (bytes) => fromBinary(ServerReflectionResponseSchema, bytes),
      metadataOf(may),
    );
    for (const messageRequest of questions) {
      stream.write(create(ServerReflectionRequestSchema, { host: "here", messageRequest }));
    }
    stream.end();
    const answers: Answer[] = [];
    for await (const { validHost, originalRequest, messageResponse } of stream) {
      expect(validHost).toBe("here");
      expect(originalRequest.messageRequest).toMatchObject(questions[answers.length] ?? {});
      const {
        fileDescriptorProto = [],
        service = [],
        extensionNumber = [],
        errorCode = 0,
      } = messageResponse.value;
      answers.push({
        files: fileDescriptorProto.map((each: Uint8Array) =>
          fromBinary(FileDescriptorProtoSchema, each),
        ),
        names: service.map((each: { name: string }) => each.name),
        numbers: extensionNumber,
        code: errorCode,
      });
    }
    return answers as never;
  }
  /** It throws when a file lacks what it imports. */
  const registryOf = ({ files }: Answer) =>
    createFileRegistry(files[0] as FileDescriptorProto, (path) =>
      files.find((each) => each.name === path),
    );
  const listServices: Question = { case: "listServices", value: "" };
  const symbol = (value: string): Question => ({ case: "fileContainingSymbol", value });
  const file = (value: string): Question => ({ case: "fileByFilename", value });

  test("a client learns services, and with them all that it needs to call them", async () => {
    await nats.worker({ get: ({ text }) => ({ text: text.toUpperCase() }) });
    const { url } = await gateway();
    const [list, ofService, ofMethod, ofMessage, ofOwn] = await ask(url, [
      listServices,
      symbol(name),
      symbol(`${name}.Get`),
      symbol("test.v1.Request"),
      symbol("jetrpc.v1.CallService"),
    ]);
    expect(list.names).toEqual([...own, name]);
    for (const each of [ofService, ofMethod, ofMessage]) {
      expect(each.files[0]?.name).toBe("test/v1/test.proto");
      expect(registryOf(each).getService(name)).toBeDefined();
    }
    expect(registryOf(ofOwn).getService("jetrpc.v1.CallService")).toBeDefined();
    const { input, output } = registryOf(ofService).getService(name)?.method["get"] ?? {};
    if (!input || !output) {
      throw new Error("it has no method");
    }
    const response = await new Promise((resolve, reject) => {
      clientOf(url).makeUnaryRequest(
        `/${name}/Get`,
        (message) => Buffer.from(toBinary(input, message)),
        (bytes) => fromBinary(output, bytes),
        create(input, { text: "abc" } as never),
        (error, message) => (error ? reject(error) : resolve(message)),
      );
    });
    expect(response).toMatchObject({ text: "ABC" });
  });

  test("files, extensions, and what there is not", async () => {
    const { url } = await gateway({ services: [TestService] });
    const options = "google.protobuf.MethodOptions";
    const [descriptors, extensions, ...others] = await ask(url, [
      file("google/protobuf/descriptor.proto"),
      { case: "allExtensionNumbersOfType", value: options },
      file("none.proto"),
      symbol("test.v1.None"),
      symbol(""),
      { case: undefined },
      { case: "allExtensionNumbersOfType", value: "none.None" },
    ]);
    expect(descriptors.files.map((each) => each.name)).toEqual([
      "google/protobuf/descriptor.proto",
    ]);
    expect(others.map(({ code }) => code)).toEqual([5, 5, 5, 3, 5]);
    const extensionNumber = extensions.numbers[0] ?? 0;
    const value = create(ExtensionRequestSchema, { containingType: options, extensionNumber });
    const [containing] = await ask(url, [{ case: "fileContainingExtension", value }]);
    expect(containing.files[0]?.name).toBe("jetrpc/v1/options.proto");
  });

  test("an identity sees what it may call, and no other part of the schema", async () => {
    const { url } = await gateway({ services: [TestService], authenticate: byName });
    const questions = [
      listServices,
      symbol(name),
      symbol("test.v1.Request"),
      symbol(`${name}.Do`),
      symbol("test.v1.ShortService"),
      file("jetrpc/v1/options.proto"),
    ] as const;
    const [list, ping, ...hidden] = await ask(url, questions, `${name}/Ping`);
    expect(list.names).toEqual([...own, name]);
    const [first] = ping.files;
    expect(first?.service.map(({ method }) => method.map((each) => each.name))).toEqual([["Ping"]]);
    // Messages of other methods, and other services of the file, are none of its business.
    expect(first?.messageType).toEqual([]);
    expect(hidden.map(({ code }) => code)).toEqual([5, 5, 5, 5]);
    expect(registryOf(ping).getService(name)?.methods).toHaveLength(1);

    const [none, nothing] = await ask(url, questions, "other.v1.Other");
    expect([none.names, nothing.code]).toEqual([own, 5]);
    const [, get] = await ask(url, questions, `${name}/Get`);
    expect(registryOf(get).getMessage("test.v1.Response")).toBeDefined();
    const [, all] = await ask(url, questions, name);
    expect(registryOf(all).getService(name)?.methods).toHaveLength(TestService.methods.length);
  });

  test("who is not known sees nothing", async () => {
    const { url } = await gateway({ services: [TestService], authenticate: byName });
    await expect(ask(url, [listServices])).rejects.toMatchObject({
      code: grpc.status.UNAUTHENTICATED,
    });
  });
});
