import { createRequire } from "node:module";
import { create, type DescFile } from "@bufbuild/protobuf";
import {
  type CodeGeneratorRequest,
  type CodeGeneratorResponse,
  CodeGeneratorResponseSchema,
} from "@bufbuild/protobuf/wkt";
import { createEcmaScriptPlugin, type Plugin, type Schema } from "@bufbuild/protoplugin";
import { nameServices } from "./names.js";
import { type Options, parseOptions } from "./options.js";
import { generatePackage } from "./package-files.js";
import { findProblems } from "./problems.js";
import { generateServices } from "./service-file.js";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };

/** What a person has to mend in their .proto files; the text says where and how. */
class GenerationError extends Error {}

const generator = createEcmaScriptPlugin<Options>({
  name: "protoc-gen-jetrpc",
  version: `v${version}`,
  parseOptions,
  generateTs: generate,
});

function generate(schema: Schema<Options>): void {
  const problems = findProblems(schema.files);
  if (problems.length > 0) {
    throw new GenerationError(problems.join("\n"));
  }
  for (const [name, files] of filesByPackage(schema.files)) {
    const names = nameServices(schema, files);
    for (const file of files) {
      generateServices(schema, file, names);
    }
    generatePackage(schema, { name, files, names });
  }
}

/** The files to generate, by their proto package. */
function filesByPackage(files: readonly DescFile[]): Map<string, DescFile[]> {
  const packages = new Map<string, DescFile[]>();
  for (const file of [...files].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = file.proto.package;
    packages.set(name, [...(packages.get(name) ?? []), file]);
  }
  return packages;
}

/** The generator: run it by `bin/protoc-gen-jetrpc.js`, which `buf generate` starts. */
export const plugin: Plugin = {
  name: generator.name,
  version: generator.version,
  run(request: CodeGeneratorRequest): CodeGeneratorResponse {
    try {
      // A package is built by tsup, so what is generated is TypeScript.
      const parameter = [request.parameter, "target=ts"].filter((p) => p !== "").join(",");
      return generator.run({ ...request, parameter });
    } catch (error) {
      if (error instanceof GenerationError) {
        return create(CodeGeneratorResponseSchema, { error: error.message });
      }
      throw error;
    }
  },
};
