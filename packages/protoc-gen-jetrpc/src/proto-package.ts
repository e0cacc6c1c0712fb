import { posix } from "node:path";
import type { DescFile, DescService } from "@bufbuild/protobuf";
import type { GeneratedFile, Schema } from "@bufbuild/protoplugin";
import { type Export, exportsOf, nameServices, type ServiceNames } from "./names.js";
import type { Options } from "./options.js";

/** A proto package and what is generated for it. */
export interface ProtoPackage {
  /** Its full name; empty for files without a package. */
  readonly name: string;
  /** Where its npm package lies: `pdf/v1`. */
  readonly folder: string;
  /** Name of the npm package: `@acme/pdf-v1-client`. */
  readonly npmName: string;
  /** The exports of the npm package; printed last. */
  readonly index: GeneratedFile;
  readonly files: readonly DescFile[];
  /** The names that protoc-gen-es exports from the files. */
  readonly exports: readonly Export[];
  readonly names: ReadonlyMap<DescService, ServiceNames>;
}

/** The packages of the files to generate, in the order of the files' names. */
export function packagesOf(schema: Schema, options: Options): ProtoPackage[] {
  const filesByName = new Map<string, DescFile[]>();
  for (const file of [...schema.files].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = file.proto.package;
    filesByName.set(name, [...(filesByName.get(name) ?? []), file]);
  }
  return [...filesByName].map(([name, files]) => {
    const folder = name.replaceAll(".", "/");
    const index = schema.generateFile(posix.join(folder, "index.ts"));
    const npmName = npmNameOf(name, options);
    const exports = exportsOf(index, files);
    const names = nameServices(files, exports);
    return { name, folder, npmName, index, files, exports, names };
  });
}

/** `@acme/pdf-v1-client` for the package `pdf.v1` and the scope `@acme`. */
function npmNameOf(name: string, { npmScope }: Options): string {
  const parts = [...name.split("."), "client"].filter((part) => part !== "");
  // npm refuses capitals and a leading underscore; protobuf has both.
  const legal = parts
    .join("-")
    .toLowerCase()
    .replace(/^[_-]+/, "");
  return npmScope ? `${npmScope}/${legal}` : legal;
}
