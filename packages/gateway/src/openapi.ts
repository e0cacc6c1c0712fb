import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { bindMethod, codeName } from "@jetrpc/runtime/schema";
import { commentOf } from "./comments.js";
import { CallService } from "./gen/jetrpc/v1/call_service_pb.js";
import { type JsonSchema, JsonSchemas } from "./json-schemas.js";
import { blobPaths } from "./openapi-blobs.js";

/** A service, and which of its methods are described. */
export interface DescribedService {
  readonly desc: DescService;
  readonly methods: readonly DescMethod[];
}

/** What is told beside the services. */
export interface OpenApiOptions {
  /** Default: "Services over HTTP". */
  readonly title?: string | undefined;
  /** Version of the API. Default: "1". */
  readonly version?: string | undefined;
  /** How a client shows who it is, by name; any of them is enough. Default: not told. */
  readonly securitySchemes?: Readonly<Record<string, object>> | undefined;
}

/**
 * Describes by OpenAPI 3.1 how services are called by JSON: POST of each unary method, GET of
 * those with `NO_SIDE_EFFECTS`, and of durable methods also how to submit a call and not wait.
 * A durable method with a streamed response can be submitted only. JSON clients cannot call
 * other streams: they are left out, and the tag of their service names them. With durable methods
 * are the paths of their Blobs, and CallService, which comes back to their calls.
 */
export function openApiDocument(
  services: readonly (DescService | DescribedService)[],
  { title = "Services over HTTP", version = "1", securitySchemes }: OpenApiOptions = {},
): Record<string, unknown> {
  const types = new JsonSchemas();
  const all: DescribedService[] = services.map((each) =>
    "desc" in each ? each : { desc: each, methods: each.methods },
  );
  const isCallService = ({ desc }: DescribedService) => desc.typeName === CallService.typeName;
  if (all.some(({ methods }) => methods.some(isDurable)) && !all.some(isCallService)) {
    all.unshift({ desc: CallService, methods: CallService.methods });
  }
  const paths: Record<string, JsonSchema> = {};
  for (const { desc, methods } of all) {
    for (const method of methods.filter(isDescribed)) {
      paths[`/${desc.typeName}/${method.name}`] = pathItem(method, types);
    }
    Object.assign(paths, blobPaths(methods.filter(isDurable), types));
  }
  const hasSchemes = Object.keys(securitySchemes ?? {}).length > 0;
  return {
    openapi: "3.1.0",
    info: { title, version },
    tags: all.map(tag),
    paths,
    components: {
      schemas: { ...types.schemas, "connect.Error": errorSchema, "jetrpc.Submitted": submitted },
      responses: { Error: { description: "It failed.", ...json(ref("connect.Error")) } },
      ...(hasSchemes && { securitySchemes }),
    },
    ...(hasSchemes && {
      security: Object.keys(securitySchemes ?? {}).map((name) => ({ [name]: [] })),
    }),
  };
}

function isDescribed(method: DescMethod): boolean {
  const { methodKind } = method;
  return methodKind === "unary" || (methodKind === "server_streaming" && isDurable(method));
}

function isDurable(method: DescMethod): boolean {
  return !isOwn(method) && bindMethod(method).delivery === "durable";
}

/** True for a method of the gateway itself, which answers at once. */
function isOwn({ parent }: DescMethod): boolean {
  return parent.typeName === CallService.typeName;
}

function tag({ desc, methods }: DescribedService): JsonSchema {
  const leftOut = methods.filter((method) => !isDescribed(method)).map(({ name }) => name);
  const parts = [
    commentOf(desc),
    leftOut.length > 0 && `Not for clients of plain JSON: ${leftOut.join(", ")}.`,
  ];
  const description = parts.filter(Boolean).join("\n\n");
  return { name: desc.typeName, ...(description && { description }) };
}

function pathItem(method: DescMethod, types: JsonSchemas): JsonSchema {
  const { parent, name, input, output, methodKind } = method;
  const description = commentOf(method);
  const isUnary = methodKind === "unary";
  const durable = isDurable(method);
  const operation = {
    summary: name,
    ...(description && { description }),
    tags: [parent.typeName],
    ...(method.deprecated && { deprecated: true }),
  };
  const operationId = `${parent.typeName}.${name}`;
  const request = types.ref(input);
  const isKeyed = durable || (isOwn(method) && name === CallService.method.submit.name);
  const common = [timeoutParameter, ...(isKeyed ? [keyParameter] : [])];
  const done = isUnary ? { 200: { description: "The response.", ...json(types.ref(output)) } } : {};
  const failed = { default: { $ref: "#/components/responses/Error" } };
  const post = {
    operationId,
    ...operation,
    parameters: [...common, ...(durable ? [{ ...preferParameter, required: !isUnary }] : [])],
    requestBody: { required: true, ...json(request) },
    responses: { ...done, ...(durable && { 202: accepted }), ...failed },
  };
  const isSafe = method.idempotency === IdempotencyLevel.NO_SIDE_EFFECTS;
  if (!isUnary || !isSafe) {
    return { post };
  }
  const parameters = [{ name: "message", in: "query", required: true, ...json(request) }];
  const get = {
    operationId: `${operationId}.get`,
    ...operation,
    parameters: [encodingParameter, ...parameters, ...common],
    responses: { ...done, ...failed },
  };
  return { get, post };
}

function ref(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

function json(schema: JsonSchema): JsonSchema {
  return { content: { "application/json": { schema } } };
}

const encodingParameter = {
  name: "encoding",
  in: "query",
  required: true,
  schema: { const: "json" },
};

const timeoutParameter = {
  name: "Connect-Timeout-Ms",
  in: "header",
  description: "How long the call may take, in ms.",
  schema: { type: "integer", minimum: 1, maximum: 9_999_999_999 },
};

const keyParameter = {
  name: "Idempotency-Key",
  in: "header",
  description:
    "The id of the call: the same request with the same key gets the result of the first one.",
  schema: { type: "string", pattern: "^[A-Za-z0-9_=+@:-]{1,128}$" },
};

const preferParameter = {
  name: "Prefer",
  in: "header",
  description: "With respond-async the call is submitted, and its end not waited for: 202.",
  schema: { const: "respond-async" },
};

const uri = { type: "string", format: "uri-reference" };

const accepted = {
  description: "The call is stored. Location and the body tell where to look.",
  headers: {
    Location: { description: "Where the status of the call is.", schema: uri },
    "Preference-Applied": { schema: { const: "respond-async" } },
  },
  ...json(ref("jetrpc.Submitted")),
};

const submitted: JsonSchema = {
  type: "object",
  required: ["method", "callId", "status"],
  properties: {
    method: { type: "string" },
    callId: { type: "string" },
    status: { ...uri, description: "Where its status is, by GET." },
    result: { ...uri, description: "Where its result is waited for, by GET; of unary methods." },
  },
};

const codes = Object.values(Code).filter((code): code is Code => typeof code === "number");

/** The error of Connect's unary calls. */
const errorSchema: JsonSchema = {
  type: "object",
  required: ["code"],
  properties: {
    code: { type: "string", enum: codes.map(codeName) },
    message: { type: "string" },
    details: {
      type: "array",
      items: {
        type: "object",
        required: ["type", "value"],
        properties: {
          type: { type: "string", description: "Full name of the message." },
          value: { type: "string", contentEncoding: "base64", description: "The message, binary." },
          debug: { description: "The message as JSON." },
        },
      },
    },
  },
};
