import type { DescFile, DescService } from "@bufbuild/protobuf";
import type { Schema } from "@bufbuild/protoplugin";

/** What is generated for a service, by name. */
export interface ServiceNames {
  readonly worker: string;
  readonly client: string;
  readonly createClient: string;
  readonly binding: string;
}

/**
 * Names what is generated for the services of a package. `PdfService` gives
 * `PdfWorker`, `PdfClient`, ...; where such a name is taken already in the
 * package, `PdfServiceWorker`, and where that is too, `PdfService$Worker`.
 */
export function nameServices(
  schema: Schema,
  files: readonly DescFile[],
): Map<DescService, ServiceNames> {
  const taken = new Set(files.flatMap((file) => exportedNames(schema, file)));
  const names = new Map<DescService, ServiceNames>();
  for (const service of files.flatMap((file) => file.services)) {
    const short = service.name.replace(/(?<=.)Service$/, "");
    const bases = [short, service.name, `${service.name}$`];
    const free = bases.map(namesFor).find((its) => Object.values(its).every((n) => !taken.has(n)));
    const chosen = free ?? namesFor(`${service.name}$$`);
    for (const name of Object.values(chosen)) {
      taken.add(name);
    }
    names.set(service, chosen);
  }
  return names;
}

function namesFor(base: string): ServiceNames {
  return {
    worker: `${base}Worker`,
    client: `${base}Client`,
    createClient: `create${base}Client`,
    binding: `${base.charAt(0).toLowerCase()}${base.slice(1)}Binding`,
  };
}

/** The names that protoc-gen-es exports from the code of a file. */
function exportedNames(schema: Schema, file: DescFile): string[] {
  // Only to ask for names: a file without content is not written.
  const scratch = schema.generateFile(`${file.name}_names.ts`);
  const names = [scratch.importSchema(file).name];
  for (const desc of schema.typesInFile(file)) {
    names.push(scratch.importSchema(desc).name);
    if (desc.kind === "message" || desc.kind === "enum") {
      names.push(scratch.importShape(desc).name);
    }
  }
  return names;
}
