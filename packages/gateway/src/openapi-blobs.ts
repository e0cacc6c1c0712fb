import type { DescMethod } from "@bufbuild/protobuf";
import { BlobSchema } from "@jetrpc/runtime/jetrpc/v1/blob_pb.js";
import { holdsBlobs } from "@jetrpc/runtime/schema";
import type { JsonSchema, JsonSchemas } from "./json-schemas.js";

/** The paths of the Blobs of durable methods of a service: of their requests and of their responses. */
export function blobPaths(
  methods: readonly DescMethod[],
  types: JsonSchemas,
): Record<string, JsonSchema> {
  const paths: Record<string, JsonSchema> = {};
  for (const method of methods) {
    const { parent, name, input, output } = method;
    if (holdsBlobs(input)) {
      paths[`/blobs/${parent.typeName}/${name}/{callId}/{index}`] = upload(method, types);
    }
    if (holdsBlobs(output)) {
      paths[`/blobs/${parent.typeName}/{object}`] ??= download(method);
    }
  }
  return paths;
}

function upload({ parent, name }: DescMethod, types: JsonSchemas): JsonSchema {
  const blob = { content: { "application/json": { schema: types.ref(BlobSchema) } } };
  const operationId = `${parent.typeName}.${name}.blob`;
  const tags = [parent.typeName];
  return {
    parameters: [
      pathParameter("callId", "The id of the call, which is submitted later.", callId),
      pathParameter("index", "Tells the Blobs of the call apart.", {
        type: "integer",
        minimum: 0,
        maximum: 99_999,
      }),
    ],
    put: {
      operationId: `${operationId}.put`,
      summary: `Uploads a Blob of a request of ${name}, whole or a part of it.`,
      tags,
      parameters: [
        headerParameter("Content-Range", "The part that it is; the whole file without it.", {
          type: "string",
          pattern: "^bytes (?:[0-9]+-[0-9]+/(?:[0-9]+|\\*)|\\*/[0-9]+)$",
        }),
        headerParameter("Content-Disposition", "Names the file.", text),
        headerParameter("Repr-Digest", "The digest that the whole file is to have.", {
          type: "string",
          pattern: "sha-256=:[A-Za-z0-9+/]{43}=:",
        }),
      ],
      requestBody: { content: { "*/*": {} } },
      responses: {
        200: { description: "It was complete before.", headers: progress, ...blob },
        201: {
          description: "It is complete: the Blob for the request.",
          headers: progress,
          ...blob,
        },
        204: { description: "A part is stored, and more has to come.", headers: progress },
        ...failed,
      },
    },
    head: {
      operationId: `${operationId}.head`,
      summary: "Tells how much of it is stored.",
      tags,
      responses: { 200: { description: "The progress.", headers: progress }, ...failed },
    },
  };
}

function download({ parent }: DescMethod): JsonSchema {
  const operationId = `${parent.typeName}.blob`;
  const tags = [parent.typeName];
  const bytes = { headers: ofBytes, content: { "*/*": {} } };
  const responses = (its: object) => ({
    200: { description: "The bytes.", ...its },
    206: { description: "A range of the bytes.", ...its },
    304: { description: "The client has them." },
    416: { description: "The Blob ends before the range." },
    ...failed,
  });
  return {
    parameters: [
      pathParameter("object", "The field of a Blob of a response, as are the others.", text),
      query("size", { type: "string", pattern: "^[0-9]+$" }, true),
      query("digest", { type: "string", pattern: "^SHA-256=[A-Za-z0-9_-]{43}=$" }, true),
      query("contentType", text),
      query("fileName", text),
      { ...query("inline", { const: "" }), allowEmptyValue: true },
      ...["Range", "If-Range", "If-None-Match"].map((name) => headerParameter(name, "", text)),
    ],
    get: {
      operationId: `${operationId}.get`,
      summary: "Reads a Blob of a response.",
      tags,
      responses: responses(bytes),
    },
    head: {
      operationId: `${operationId}.head`,
      summary: "Tells of a Blob of a response.",
      tags,
      responses: responses({ headers: ofBytes }),
    },
  };
}

const text: JsonSchema = { type: "string" };
const callId: JsonSchema = { type: "string", pattern: "^[A-Za-z0-9_=+@:-]{1,128}$" };
const failed = { default: { $ref: "#/components/responses/Error" } };

const progress = {
  "Upload-Offset": {
    description: "How many bytes are stored.",
    schema: { type: "integer", minimum: 0 },
  },
  "Upload-Complete": { description: "Whether that is all.", schema: { enum: ["?0", "?1"] } },
};

const ofBytes = {
  ETag: { description: "The digest.", schema: text },
  "Content-Range": { description: "Of 206 and 416.", schema: text },
  "Content-Disposition": { schema: text },
};

function pathParameter(name: string, description: string, schema: JsonSchema): JsonSchema {
  return { name, in: "path", required: true, description, schema };
}

function headerParameter(name: string, description: string, schema: JsonSchema): JsonSchema {
  return { name, in: "header", ...(description && { description }), schema };
}

function query(name: string, schema: JsonSchema, required = false): JsonSchema {
  return { name, in: "query", required, schema };
}
