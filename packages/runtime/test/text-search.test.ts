import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescService,
  fromJson,
  type JsonValue,
  toBinary,
} from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  file_google_protobuf_any,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt";
import { headers } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { StoredMessage } from "../src/link/stored-message.js";
import { TextSearch } from "../src/operator/text-search.js";
import { bindingOf } from "../src/schema/binding.js";
import { typesOf } from "../src/schema/type-registry.js";

const known = [
  file_google_protobuf_any,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
];

/** A method `Do` whose request has a field of each kind. */
function kindsService(): DescService {
  const kinds = ["Any", "Struct", "Timestamp", "BytesValue", "Int32Value"];
  const label = FieldDescriptorProto_Label.OPTIONAL;
  const field = kinds.map((kind, at) => ({
    name: kind.toLowerCase(),
    jsonName: kind.toLowerCase(),
    number: at + 1,
    label,
    type: FieldDescriptorProto_Type.MESSAGE,
    typeName: `.google.protobuf.${kind}`,
  }));
  const scalar = (name: string, number: number, type: FieldDescriptorProto_Type) => ({
    name,
    jsonName: name,
    number,
    label,
    type,
  });
  const types = { inputType: ".kinds.v1.Kinds", outputType: ".kinds.v1.Kinds" };
  const file = create(FileDescriptorProtoSchema, {
    name: "kinds/v1/kinds.proto",
    package: "kinds.v1",
    syntax: "proto3",
    dependency: known.map(({ proto }) => proto.name),
    messageType: [
      {
        name: "Kinds",
        field: [...field, scalar("long", 10, FieldDescriptorProto_Type.INT64)],
      },
      {
        name: "Packed",
        field: [
          scalar("value", 1, FieldDescriptorProto_Type.STRING),
          scalar("raw", 2, FieldDescriptorProto_Type.BYTES),
        ],
      },
    ],
    service: [{ name: "KindsService", method: [{ name: "Do", ...types }] }],
  });
  const registry = createFileRegistry(file, (name) =>
    known.find(({ proto }) => proto.name === name),
  );
  return registry.getService("kinds.v1.KindsService") as DescService;
}

const service = kindsService();
const input = service.method["do"]?.input as DescMessage;
const packed = { "@type": "type.googleapis.com/kinds.v1.Packed" };
const wrapped = { "@type": "type.googleapis.com/google.protobuf.StringValue" };
// "needle!!!" as base64.
const bytes = "bmVlZGxlISEh";

test.each<[string, JsonValue, string, boolean]>([
  ["a field `value` in an Any", { any: { ...packed, value: "Invoice 4711" } }, "voice 47", true],
  ["a wrapper in an Any", { any: { ...wrapped, value: "Invoice 4711" } }, "voice 47", true],
  ["the type of an Any", { any: packed }, "v1.packed", true],
  ["bytes in an Any", { any: { ...packed, raw: bytes } }, "mvlzg", false],
  ["BytesValue", { bytesvalue: bytes }, "mvlzg", false],
  ["a key `fields` of a Struct", { struct: { fields: "Invoice" } }, "fields", true],
  ["a text below it", { struct: { fields: "Invoice" } }, "invoice", true],
  ["a text in a list", { struct: { a: [{ b: "Invoice" }] } }, "invoice", true],
  ["null in a Struct", { struct: { a: null } }, "null", true],
  ["false in a Struct", { struct: { a: false } }, "false", true],
  ["a Timestamp", { timestamp: "2026-11-27T00:00:00Z" }, "2026-11-27t", true],
  ["zero in a wrapper", { int32value: 0 }, "0", true],
  ["an int64", { long: "9007199254740993" }, "740993", true],
  ["a name of a field", { long: "1" }, "long", false],
])("a text is looked for as a person reads a message: %s", (_, json, text, isFound) => {
  const data = toBinary(input, fromJson(input, json, { registry: typesOf(service) }));
  const message = new StoredMessage({ data, headers: headers() } as never, "s", 1, 0);
  const search = new TextSearch(bindingOf(service), text);
  const call = { place: "dead", method: "Do", call: { callId: "x" }, state: "failed" };
  expect(search.fits(call as never, message)).toBe(isFound);
  expect(search.unread).toBe(0);
});
