import { execFileSync } from "node:child_process";
import { join } from "node:path";
import {
  createFileRegistry,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescService,
  fromBinary,
  fromJson,
  type JsonValue,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { PdfService } from "@jetrpc-examples/pdf-v1-client";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../../test/property-runs.js";
import { BlobService } from "../../runtime/test/gen/test/v1/blob_pb.js";
import {
  EdgeService,
  PriorityService,
  ShortService,
  TestService,
} from "../../runtime/test/gen/test/v1/test_pb.js";
import { bearerJwt, CallService, openApiDocument } from "../src/index.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway, worker } = useGateway();

const image = execFileSync("buf", ["build", join(import.meta.dirname, "proto"), "-o", "-"], {
  env: {
    ...process.env,
    PATH: `${join(import.meta.dirname, "../../../node_modules/.bin")}:${process.env["PATH"]}`,
  },
});
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
const NastyService = registry.getService("nasty.v1.NastyService") as DescService;
const All = registry.getMessage("nasty.v1.All") as DescMessage;

type Document = {
  // biome-ignore lint/suspicious/noExplicitAny: a test looks at parts of it.
  [name: string]: any;
};

/** What JSON clients can call of CallService. */
const ownPaths = ["Submit", "Status", "Result", "Cancel"].map(
  (each) => `/jetrpc.v1.CallService/${each}`,
);

/** Says whether JSON is as a schema of a document wants it. */
function validatorOf(document: object) {
  const ajv = new Ajv2020({ strict: false, ownProperties: true });
  (addFormats as unknown as (ajv: unknown) => void)(ajv);
  ajv.addSchema(document, "api");
  return (name: string) => ajv.compile({ $ref: `api#/components/schemas/${name}` });
}

async function expectValid(document: object) {
  const result = await new Validator().validate(structuredClone(document) as never);
  expect(result).toMatchObject({ valid: true });
  for (const name of Object.keys((document as Document)["components"].schemas)) {
    validatorOf(document)(name);
  }
}

test("a public validator takes the documents of the services here, and of a nasty one", async () => {
  await expectValid(openApiDocument([PdfService, CallService]));
  const ofBlobs = openApiDocument([BlobService]) as Document;
  await expectValid(ofBlobs);
  expect(ofBlobs["components"].schemas["jetrpc.v1.Blob"].properties.fileName).toBeDefined();
  await expectValid(openApiDocument([TestService, EdgeService, PriorityService, ShortService]));
  await expectValid(
    openApiDocument([NastyService], {
      title: "Nasty",
      version: "2.0",
      securitySchemes: bearerJwt({ secret: "x".repeat(32) }).securitySchemes,
    }),
  );
  await expectValid(openApiDocument([]));
});

test("a document has comments, GET where it is safe, and names what JSON clients cannot call", () => {
  const document: Document = openApiDocument([NastyService]);
  const { paths, tags, components } = document as { [name: string]: Document };
  expect(Object.keys(paths as object)).toEqual([
    ...ownPaths,
    "/nasty.v1.NastyService/Read",
    "/nasty.v1.NastyService/Write",
    "/nasty.v1.NastyService/Old",
    "/nasty.v1.NastyService/Watch",
  ]);
  const read = paths?.["/nasty.v1.NastyService/Read"];
  expect(read.post.description).toBe("Read has\na comment of two lines.");
  expect(read.get.parameters.map((each: { name: string }) => each.name)).toEqual([
    "encoding",
    "message",
    "Connect-Timeout-Ms",
  ]);
  expect(paths?.["/nasty.v1.NastyService/Write"].get).toBeUndefined();
  expect(paths?.["/nasty.v1.NastyService/Old"].post.deprecated).toBe(true);
  expect(tags?.[1].description).toBe(
    "NastyService has methods of all kinds.\n\nNot for clients of plain JSON: Send.",
  );
  const all = components?.["schemas"]["nasty.v1.All"];
  expect(all.description).toBe("All is all.");
  expect(all.properties.aDouble.description).toBe("The comment of a field.");
  expect(all.properties.constructor).toMatchObject({ type: "string", deprecated: true });
  expect(all.properties["$other-name"]).toEqual({ type: "string" });
});

test("a durable method can be submitted; a streamed response only so", () => {
  const { paths } = openApiDocument([TestService]) as Document;
  const unary = paths["/test.v1.TestService/Do"].post;
  expect(Object.keys(unary.responses)).toEqual(["200", "202", "default"]);
  expect(unary.parameters).toContainEqual(
    expect.objectContaining({ name: "Prefer", required: false }),
  );
  const streamed = paths["/test.v1.TestService/Count"].post;
  expect(Object.keys(streamed.responses)).toEqual(["202", "default"]);
  expect(streamed.parameters).toContainEqual(
    expect.objectContaining({ name: "Prefer", required: true }),
  );
  const direct = paths["/test.v1.TestService/Get"].post;
  expect(Object.keys(direct.responses)).toEqual(["200", "default"]);
  expect(paths["/test.v1.TestService/Down"]).toBeUndefined();
});

test("the calls of durable methods, and their Blobs, are in it, and nothing of those that have none", () => {
  const { paths } = openApiDocument([BlobService]) as Document;
  expect(Object.keys(paths)).toEqual([
    ...ownPaths,
    "/test.v1.BlobService/Copy",
    "/test.v1.BlobService/Split",
    "/blobs/test.v1.BlobService/Copy/{callId}/{index}",
    "/blobs/test.v1.BlobService/{object}",
    "/blobs/test.v1.BlobService/Split/{callId}/{index}",
  ]);
  const submit = paths["/jetrpc.v1.CallService/Submit"].post;
  expect(Object.keys(submit.responses)).toEqual(["200", "default"]);
  expect(submit.parameters.map((each: { name: string }) => each.name)).toEqual([
    "Connect-Timeout-Ms",
    "Idempotency-Key",
  ]);
  expect(Object.keys((openApiDocument([TestService]) as Document)["paths"]).join()).not.toContain(
    "/blobs/",
  );
  // A service of direct methods has no calls to come back to.
  const { desc } = { desc: TestService };
  const direct = openApiDocument([{ desc, methods: [TestService.method.get] }]) as Document;
  expect(Object.keys(direct["paths"])).toEqual(["/test.v1.TestService/Get"]);
});

test("what it says of Blobs is true of the answers", async () => {
  await worker(BlobService, { copy: async ({ file }) => ({ file: file as never }) });
  const { url } = await gateway();
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as Document;
  await expectValid(document);
  const path = "/blobs/test.v1.BlobService/Copy/{callId}/{index}";
  const { put, head } = document["paths"][path];
  const uploadUrl = url + path.replace("{callId}", "one").replace("{index}", "0");
  const isTold = (response: Response, { responses }: Document) => {
    const told = responses[response.status];
    for (const [name, { schema }] of Object.entries<Document>(told.headers ?? {})) {
      const text = response.headers.get(name) ?? "";
      const value = schema.type === "integer" ? Number(text) : text;
      expect([name, new Ajv2020({ strict: false }).validate(schema, value)]).toEqual([name, true]);
    }
    return Object.keys(told.content ?? {});
  };
  const send = (body: string, headers: Record<string, string>) =>
    fetch(uploadUrl, { method: "PUT", body, headers });
  expect(isTold(await send("ab", { "Content-Range": "bytes 0-1/*" }), put)).toEqual([]);
  const last = await send("c", { "Content-Range": "bytes 2-2/3" });
  expect(isTold(last, put)).toEqual(["application/json"]);
  const blob = await last.json();
  expect(validatorOf(document)("jetrpc.v1.Blob")(blob)).toBe(true);
  expect(isTold(await send("", { "Content-Range": "bytes */3" }), put)).toEqual([
    "application/json",
  ]);
  expect(isTold(await fetch(uploadUrl, { method: "HEAD" }), head)).toEqual([]);
  const wrong = await send("abcd", {});
  expect(wrong.status).toBe(409);
  expect(validatorOf(document)("connect.Error")(await wrong.json())).toBe(true);

  const copied = await postJson(
    `${url}/test.v1.BlobService/Copy`,
    { file: blob },
    { "Idempotency-Key": "one" },
  );
  const { file } = (await copied.json()) as { file: Record<string, string> };
  const { object = "", ...fields } = file;
  const of = document["paths"]["/blobs/test.v1.BlobService/{object}"];
  const told = of.parameters.flatMap((each: Document) =>
    each["in"] === "query" ? each["name"] : [],
  );
  expect(told).toEqual(expect.arrayContaining(Object.keys(fields)));
  const readUrl = `${url}/blobs/test.v1.BlobService/${object}?${new URLSearchParams(fields)}`;
  for (const [headers, status] of [
    [{}, 200],
    [{ Range: "bytes=1-1" }, 206],
    [{ Range: "bytes=9-" }, 416],
  ] as const) {
    const answer = await fetch(readUrl, { headers });
    expect(answer.status).toBe(status);
    isTold(answer, of.get);
  }
});

test("a gateway serves it to each as far as he may call, and it is true of its answers", async () => {
  await nats.worker({
    get: ({ text }) => ({ text }),
    do: () => ({}),
    count: async function* () {},
  });
  const { url } = await gateway({
    authenticate: Object.assign(
      ({ headers }: { headers: Headers }) => {
        const may = headers.get("x-may");
        return may === null ? undefined : may === "all" ? {} : { methods: [may] };
      },
      { securitySchemes: { key: { type: "apiKey", in: "header", name: "x-may" } } },
    ),
  });
  expect((await fetch(`${url}/openapi.json`)).status).toBe(401);
  expect((await postJson(`${url}/openapi.json`, {}, { "X-May": "all" })).status).toBe(405);
  const fetched = async (may: string): Promise<Document> => {
    const response = await fetch(`${url}/openapi.json`, { headers: { "X-May": may } });
    expect(response.status).toBe(200);
    return (await response.json()) as Document;
  };
  const some = await fetched("test.v1.TestService/Get");
  expect(Object.keys(some["paths"])).toEqual([...ownPaths, "/test.v1.TestService/Get"]);
  expect(Object.keys((await fetched("none.v1.None"))["paths"])).toEqual(ownPaths);
  const document = await fetched("all");
  await expectValid(document);
  expect(document["security"]).toEqual([{ key: [] }]);

  const validator = validatorOf(document);
  const call = async (path: string, body: unknown, headers = {}) =>
    postJson(`${url}/test.v1.TestService/${path}`, body, { "X-May": "all", ...headers });
  const good = await call("Get", { text: "a", number: "1" });
  expect(validator("test.v1.Response")(await good.json())).toBe(true);
  const bad = await call("Get", { text: 1 });
  expect(validator("connect.Error")(await bad.json())).toBe(true);
  for (const path of ["Do", "Count"]) {
    const accepted = await call(path, {}, { Prefer: "respond-async" });
    expect(accepted.status).toBe(202);
    expect(validator("jetrpc.Submitted")(await accepted.json())).toBe(true);
  }
  const query = new URLSearchParams({ encoding: "json", message: '{"text":"b"}' });
  const got = await fetch(`${url}/test.v1.TestService/Get?${query}`, {
    headers: { "X-May": "all" },
  });
  expect(await got.json()).toEqual({ text: "b" });
});

describe("JSON", () => {
  const validate = validatorOf(openApiDocument([NastyService]))("nasty.v1.All");
  const options = { registry };
  /** What the gateway writes of a message that was read. */
  const written = (json: JsonValue) => toJson(All, fromJson(All, json, options), options);

  test("that is written of any message is as the schema says", () => {
    fc.assert(
      fc.property(messageJson(All, 2), (json) => {
        const out = written(json);
        if (!validate(out)) {
          throw new Error(`${JSON.stringify(out)}: ${JSON.stringify(validate.errors)}`);
        }
      }),
      runs(100),
    );
  });

  test("that is of another kind is refused by the schema, and by the reader", () => {
    const fields = All.fields.filter((field) => wrongFor(field).length > 0);
    const wrong = fc
      .constantFrom(...fields)
      .chain((field) => fc.tuple(fc.constant(field), fc.constantFrom(...wrongFor(field))));
    fc.assert(
      fc.property(messageJson(All, 1), wrong, (json, [field, value]) => {
        const changed = { ...(written(json) as object), [field.jsonName]: value } as JsonValue;
        expect([field.name, value, validate(changed)]).toEqual([field.name, value, false]);
        expect(
          () => fromJson(All, changed, options),
          `${field.name}: ${JSON.stringify(value)}`,
        ).toThrow();
      }),
      runs(200),
    );
  });

  test("with two members of a oneof is refused by both", () => {
    for (const json of [
      { text: "", big: "1" },
      { text: "a", message: {} },
      { text: "a", free: 1, big: "2" },
    ]) {
      expect(validate(json)).toBe(false);
      expect(() => fromJson(All, json, options)).toThrow();
    }
    for (const json of [{}, { text: "" }, { free: null }, { alone: true, big: "1" }]) {
      expect(validate(json)).toBe(true);
      fromJson(All, json, options);
    }
  });
});

/** JSON of a message, in any form that is read. */
function messageJson(desc: DescMessage, depth: number): fc.Arbitrary<JsonValue> {
  const known = wellKnownJson[desc.typeName];
  if (known) {
    return known;
  }
  const fields = desc.fields.filter(
    ({ message, fieldKind, oneof }) =>
      (depth > 0 || !message || wellKnownJson[message.typeName]) &&
      // One member is chosen below.
      (!oneof || oneof.fields.length === 1 || fieldKind === "message"),
  );
  const chosen = new Map<string, DescField>();
  for (const field of fields) {
    chosen.set(field.oneof ? `oneof ${field.oneof.name}` : field.name, field);
  }
  const shape = Object.fromEntries(
    [...chosen.values()].map((field) => [field.jsonName, fieldJson(field, depth)]),
  );
  const requiredKeys = desc.fields
    .filter(({ presence }) => presence === 3)
    .map((it) => it.jsonName);
  return fc.record(shape, { requiredKeys }) as fc.Arbitrary<JsonValue>;
}

function fieldJson(field: DescField, depth: number): fc.Arbitrary<JsonValue> {
  const value = valueJson(field, depth);
  switch (field.fieldKind) {
    case "list":
      return fc.array(value, { maxLength: 3 });
    case "map": {
      const key =
        field.mapKey === ScalarType.STRING
          ? fc.string().filter((each) => each !== "__proto__")
          : field.mapKey === ScalarType.BOOL
            ? fc.constantFrom("true", "false")
            : fc.nat().map(String);
      return fc.dictionary(key, value, { maxKeys: 3 });
    }
    default:
      return value;
  }
}

function valueJson({ message, enum: its, scalar }: DescField, depth: number) {
  if (message) {
    return messageJson(message, depth - 1);
  }
  return its ? enumJson(its) : (scalarJson[scalar as ScalarType] as fc.Arbitrary<JsonValue>);
}

function enumJson({ values, open, typeName }: DescEnum): fc.Arbitrary<JsonValue> {
  if (typeName === "google.protobuf.NullValue") {
    return fc.constant(null);
  }
  const names = fc.constantFrom(...values.map(({ name }) => name));
  const known = fc.constantFrom(...values.map((each) => each.number));
  return open ? fc.oneof(names, known, int32) : fc.oneof(names, known);
}

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const int64 = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String), int32);
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const special = fc.constantFrom("NaN", "Infinity", "-Infinity");
const double = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), special);
const float = fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true }), special);
const bytes = fc.uint8Array().map((each) => Buffer.from(each).toString("base64"));
const scalarJson: Record<ScalarType, fc.Arbitrary<JsonValue>> = {
  [ScalarType.DOUBLE]: double,
  [ScalarType.FLOAT]: float,
  [ScalarType.INT64]: int64,
  [ScalarType.UINT64]: uint64,
  [ScalarType.INT32]: fc.oneof(int32, int32.map(String)),
  [ScalarType.FIXED64]: uint64,
  [ScalarType.FIXED32]: uint32,
  [ScalarType.BOOL]: fc.boolean(),
  [ScalarType.STRING]: fc.string(),
  [ScalarType.BYTES]: bytes,
  [ScalarType.UINT32]: uint32,
  [ScalarType.SFIXED32]: int32,
  [ScalarType.SFIXED64]: int64,
  [ScalarType.SINT32]: int32,
  [ScalarType.SINT64]: int64,
};

const anyValue = fc.jsonValue() as fc.Arbitrary<JsonValue>;
const seconds = fc.integer({ min: -62_135_596_800, max: 253_402_300_799 });
const nanos = fc.integer({ min: 1, max: 999_999_999 }).map((each) => String(each).padStart(9, "0"));
const wellKnownJson: Record<string, fc.Arbitrary<JsonValue>> = {
  "google.protobuf.Any": fc.oneof(
    fc.constant({}),
    fc.record({ "@type": fc.constant("type.googleapis.com/nasty.v1.Old"), name: fc.string() }),
    fc.record({
      "@type": fc.constant("type.googleapis.com/google.protobuf.Value"),
      value: anyValue,
    }),
  ),
  "google.protobuf.Duration": fc.oneof(
    fc.integer({ min: -1000, max: 315_576_000_000 }).map((each) => `${each}s`),
    fc.tuple(fc.nat(), nanos).map(([whole, part]) => `-${whole}.${part}s`),
  ),
  "google.protobuf.Timestamp": fc.tuple(seconds, fc.option(nanos)).map(([each, part]) => {
    const whole = new Date(each * 1000).toISOString().slice(0, 19);
    return part === null ? `${whole}Z` : `${whole}.${part}Z`;
  }),
  "google.protobuf.FieldMask": fc.constantFrom("", "a", "aB,c.dE"),
  "google.protobuf.Struct": fc.dictionary(
    fc.string().filter((each) => each !== "__proto__"),
    anyValue,
  ),
  "google.protobuf.Value": anyValue,
  "google.protobuf.ListValue": fc.array(anyValue),
  "google.protobuf.Empty": fc.constant({}),
  "google.protobuf.DoubleValue": double,
  "google.protobuf.FloatValue": float,
  "google.protobuf.Int64Value": int64,
  "google.protobuf.UInt64Value": uint64,
  "google.protobuf.Int32Value": int32,
  "google.protobuf.UInt32Value": uint32,
  "google.protobuf.BoolValue": fc.boolean(),
  "google.protobuf.StringValue": fc.string(),
  "google.protobuf.BytesValue": bytes,
};

/** JSON that a field can never have. */
function wrongFor(field: DescField): JsonValue[] {
  if (field.fieldKind === "list") {
    return [{}, "x", 1, ...wrongValues(field).map((each) => [each])];
  }
  if (field.fieldKind === "map") {
    const key = field.mapKey === ScalarType.BOOL ? "true" : "1";
    const keys = field.mapKey === ScalarType.STRING ? [] : [{ no_key: null }];
    return [[], "x", 1, ...keys, ...wrongValues(field).map((each) => ({ [key]: each }))];
  }
  return field.oneof && field.oneof.fields.length > 1 ? [] : wrongValues(field);
}

function wrongValues({ message, enum: its, scalar }: DescField): JsonValue[] {
  if (message) {
    return wrongKnown[message.typeName] ?? [1, "x", true, []];
  }
  if (its) {
    return its.typeName === "google.protobuf.NullValue" ? [true, {}] : ["NONE", true, {}, 1.5];
  }
  return wrongScalars[scalar as ScalarType] as JsonValue[];
}

const wrongInt: JsonValue[] = ["x", 1.5, true, {}, [], 2 ** 40, -(2 ** 40)];
const wrongLong: JsonValue[] = ["x", "1.5", true, {}, []];
const wrongNumber: JsonValue[] = ["x", true, {}, []];
const wrongBool: JsonValue[] = ["true", 0, {}, []];
const wrongText: JsonValue[] = [1, true, {}, []];
const wrongScalars: Record<ScalarType, JsonValue[]> = {
  [ScalarType.DOUBLE]: wrongNumber,
  [ScalarType.FLOAT]: wrongNumber,
  [ScalarType.INT64]: wrongLong,
  [ScalarType.UINT64]: [...wrongLong, "-1"],
  [ScalarType.INT32]: wrongInt,
  [ScalarType.FIXED64]: [...wrongLong, "-1"],
  [ScalarType.FIXED32]: [...wrongInt, -1],
  [ScalarType.BOOL]: wrongBool,
  [ScalarType.STRING]: wrongText,
  [ScalarType.BYTES]: wrongText,
  [ScalarType.UINT32]: [...wrongInt, -1],
  [ScalarType.SFIXED32]: wrongInt,
  [ScalarType.SFIXED64]: wrongLong,
  [ScalarType.SINT32]: wrongInt,
  [ScalarType.SINT64]: wrongLong,
};
const wrongKnown: Record<string, JsonValue[]> = {
  "google.protobuf.Duration": ["1", "1m", 1, {}],
  "google.protobuf.Timestamp": ["yesterday", 1, {}, "2020-13-01T00:00:00Z"],
  "google.protobuf.FieldMask": [1, {}, []],
  "google.protobuf.Struct": [1, "x", [], true],
  "google.protobuf.Value": [],
  "google.protobuf.ListValue": [{}, 1, "x"],
  "google.protobuf.DoubleValue": wrongNumber,
  "google.protobuf.FloatValue": wrongNumber,
  "google.protobuf.Int64Value": wrongLong,
  "google.protobuf.UInt64Value": [...wrongLong, "-1"],
  "google.protobuf.Int32Value": wrongInt,
  "google.protobuf.UInt32Value": [...wrongInt, -1],
  "google.protobuf.BoolValue": wrongBool,
  "google.protobuf.StringValue": wrongText,
  "google.protobuf.BytesValue": wrongText,
};
