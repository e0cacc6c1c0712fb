import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type DescFile, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as wkt from "@bufbuild/protobuf/wkt";
import {
  type CodeGeneratorRequest,
  CodeGeneratorRequestSchema,
  type CodeGeneratorResponse,
  CodeGeneratorResponseSchema,
} from "@bufbuild/protobuf/wkt";
import { GenerationError } from "./generation-error.js";

/** The option by which messages of the runtime are imported from there. */
export const rewriteImports = "rewrite_imports=./jetrpc/v1/*_pb.js:@jetrpc/runtime";

const wellKnown = new Set(
  Object.values<unknown>(wkt).flatMap((value) => (isFile(value) ? [value.proto.name] : [])),
);

function isFile(value: unknown): value is DescFile {
  return (value as Partial<DescFile> | undefined)?.kind === "file";
}

/** True for a .proto file whose messages an npm package has: the runtime, or protobuf-es. */
export function isPublished(file: string): boolean {
  return /^jetrpc\/v1\/[^/]+$/.test(file) || wellKnown.has(file);
}

/**
 * Generates the messages of the files, and of all that they import, by protoc-gen-es.
 * A plugin beside this one in buf.gen.yaml would leave out what is imported, and would
 * be killed by buf, with a message of its own, when this one refuses something.
 */
export function generateMessages(
  request: CodeGeneratorRequest,
  parameter: string,
): CodeGeneratorResponse {
  const own = {
    ...request,
    fileToGenerate: withImports(request),
    parameter,
  };
  const { status, signal, stdout, stderr, error } = spawnSync(process.execPath, [findProgram()], {
    input: toBinary(CodeGeneratorRequestSchema, own),
    maxBuffer: Number.POSITIVE_INFINITY,
  });
  if (error) {
    throw new Error("protoc-gen-es cannot be run", { cause: error });
  }
  if (status !== 0) {
    const text = stderr.toString().trimEnd();
    throw new GenerationError(text || `protoc-gen-es ended with ${signal ?? status}`);
  }
  return fromBinary(CodeGeneratorResponseSchema, stdout);
}

function findProgram(): string {
  const manifest = createRequire(import.meta.url).resolve("@bufbuild/protoc-gen-es/package.json");
  const { bin } = JSON.parse(readFileSync(manifest, "utf8"));
  return join(dirname(manifest), bin["protoc-gen-es"]);
}

/** The files to generate and all that they import, but for what is published. */
function withImports({ fileToGenerate, protoFile }: CodeGeneratorRequest): string[] {
  const dependencies = new Map(protoFile.map(({ name, dependency }) => [name, dependency]));
  const found = new Set<string>();
  const rest = [...fileToGenerate];
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (!found.has(name) && !isPublished(name) && dependencies.has(name)) {
      found.add(name);
      rest.push(...(dependencies.get(name) ?? []));
    }
  }
  return [...found].sort();
}
