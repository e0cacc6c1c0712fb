import {
  create,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { parse } from "../src/decode.js";
import { encode } from "../src/encode.js";
import { chance } from "./mutations.js";
import { compile, npmPackage, repositoryProtos } from "./protos.js";
import { difference } from "./same.js";
import { someInit } from "./values.js";

interface Source {
  readonly name: string;
  readonly load: () => FileRegistry;
  /** As many messages it has at least. */
  readonly messages: number;
}

/** What others define, as npm packages ship it. */
const publics: Source[] = [
  {
    name: "googleapis: api, type, rpc, Pub/Sub, Vision, Firestore, BigQuery, Speech",
    load: () => {
      const paths = [
        ...["api", "type", "rpc", "logging/type", "longrunning", "pubsub/v1", "firestore/v1"],
        ...["cloud/vision/v1", "cloud/bigquery/v2", "cloud/speech/v2", "monitoring/v3"],
      ];
      return compile(npmPackage("google-proto-files@5.0.3"), ...paths.map((it) => `google/${it}`));
    },
    messages: 500,
  },
  {
    name: "grpc-health-check",
    load: () => compile(`${npmPackage("grpc-health-check@2.1.0")}/proto`),
    messages: 2,
  },
];

const own: Source = { name: "this repository", load: repositoryProtos, messages: 60 };

describe.each([own, ...publics])("the .proto files of $name", ({ load, messages }) => {
  test("are written and read as protobuf-es does", () => {
    const choice = chance(7);
    const schemas = [...load()].filter((type): type is DescMessage => type.kind === "message");
    expect(schemas.length).toBeGreaterThanOrEqual(messages);
    for (const schema of schemas) {
      for (let i = 0; i < 4; i++) {
        const init = someInit(choice, schema, 2);
        const message = create(schema, init);
        const bytes = toBinary(schema, message);
        const hex = Buffer.from(bytes).toString("hex");
        expect(Buffer.from(encode(schema, message)).toString("hex"), schema.typeName).toBe(hex);
        expect(Buffer.from(encode(schema, init)).toString("hex"), schema.typeName).toBe(hex);
        const read = parse(schema, bytes, false);
        expect(difference(read, fromBinary(schema, bytes)), schema.typeName).toBeUndefined();
      }
    }
  });
});
