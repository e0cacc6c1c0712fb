import { createRequire } from "node:module";
import { create } from "@bufbuild/protobuf";
import {
  type CodeGeneratorRequest,
  type CodeGeneratorResponse,
  CodeGeneratorResponseSchema,
} from "@bufbuild/protobuf/wkt";
import { createEcmaScriptPlugin, type Plugin, type Schema } from "@bufbuild/protoplugin";
import { type Options, parseOptions } from "./options.js";
import { generatePackage } from "./package-files.js";
import { findProblems } from "./problems.js";
import { packagesOf } from "./proto-package.js";
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
  const packages = packagesOf(schema);
  const problems = findProblems(packages);
  if (problems.length > 0) {
    // On lines of their own, so that editors find the places.
    throw new GenerationError(["the .proto files have problems", ...problems].join("\n"));
  }
  for (const pkg of packages) {
    for (const file of pkg.files) {
      generateServices(schema, file, pkg.names);
    }
    generatePackage(schema, pkg);
  }
}

/** A package is built by tsup, as an ES module: its sources are TypeScript that imports `.js`. */
const fixedOptions = ["import_extension=js", "target=ts"];

/** Adds what is not for the user to choose, to the options that the user gave. */
function addFixedOptions(parameter: string): string {
  const given = parameter.split(",").filter((option) => option !== "");
  for (const option of given) {
    const isOf = (fixed: string) => fixed.split("=")[0] === option.split("=")[0];
    const fixed = [...fixedOptions, "js_import_style=module"].find(isOf);
    if (fixed && fixed !== option) {
      throw new GenerationError(
        `the option "${option}" cannot be: packages are generated with "${fixed}"; remove it`,
      );
    }
  }
  return [...given.filter((option) => !fixedOptions.includes(option)), ...fixedOptions].join(",");
}

/** The generator: run it by `bin/protoc-gen-jetrpc.js`, which `buf generate` starts. */
export const plugin: Plugin = {
  name: generator.name,
  version: generator.version,
  run(request: CodeGeneratorRequest): CodeGeneratorResponse {
    try {
      return generator.run({ ...request, parameter: addFixedOptions(request.parameter) });
    } catch (error) {
      if (error instanceof GenerationError) {
        return create(CodeGeneratorResponseSchema, { error: error.message });
      }
      throw error;
    }
  },
};
