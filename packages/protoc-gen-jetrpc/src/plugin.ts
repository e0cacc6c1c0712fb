import { createRequire } from "node:module";
import { create } from "@bufbuild/protobuf";
import {
  type CodeGeneratorRequest,
  type CodeGeneratorResponse,
  CodeGeneratorResponseSchema,
} from "@bufbuild/protobuf/wkt";
import { createEcmaScriptPlugin, type Plugin, type Schema } from "@bufbuild/protoplugin";
import { GenerationError } from "./generation-error.js";
import { generateMessages, isPublished, rewriteImports } from "./messages.js";
import { type Options, parseOptions } from "./options.js";
import { generatePackage } from "./package-files.js";
import { findProblems } from "./problems.js";
import { packagesOf } from "./proto-package.js";
import { generateServices } from "./service-file.js";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
const name = "protoc-gen-jetrpc";

/** The generator: run it by `bin/protoc-gen-jetrpc.js`, which `buf generate` starts. */
export const plugin: Plugin = {
  name,
  version: `v${version}`,
  run(request: CodeGeneratorRequest): CodeGeneratorResponse {
    try {
      return run(request, parseOptions(request.parameter));
    } catch (error) {
      if (error instanceof GenerationError) {
        return create(CodeGeneratorResponseSchema, { error: error.message });
      }
      throw error;
    }
  },
};

function run(request: CodeGeneratorRequest, options: Options): CodeGeneratorResponse {
  const generator = createEcmaScriptPlugin({
    name,
    version: `v${version}`,
    generateTs: (schema) => generate(schema, options),
  });
  const parameter = ["target=ts", "import_extension=js", rewriteImports, ...options.shared].join(
    ",",
  );
  const response = generator.run({
    ...request,
    parameter,
    fileToGenerate: request.fileToGenerate.filter((file) => !isPublished(file)),
  });
  const messages = generateMessages(request, parameter);
  return { ...response, file: [...messages.file, ...response.file] };
}

function generate(schema: Schema, options: Options): void {
  const packages = packagesOf(schema, options);
  const problems = findProblems(packages);
  if (problems.length > 0) {
    // On lines of their own, so that editors find the places.
    throw new GenerationError(["the .proto files have problems", ...problems].join("\n"));
  }
  for (const pkg of packages) {
    for (const file of pkg.files) {
      generateServices(schema, file, pkg.names);
    }
    generatePackage(schema, pkg, options);
  }
}
