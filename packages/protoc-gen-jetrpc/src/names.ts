import type {
  DescEnum,
  DescExtension,
  DescFile,
  DescMessage,
  DescService,
} from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import type { GeneratedFile } from "@bufbuild/protoplugin";

/** The generated code of a service, by the names that its package exports. */
export interface ServiceNames {
  /** Its descriptor, which protoc-gen-es generates. */
  readonly service: string;
  readonly worker: string;
  readonly client: string;
  readonly createClient: string;
}

/** A descriptor for which protoc-gen-es exports a name. */
export type Exported = DescFile | DescMessage | DescEnum | DescExtension | DescService;

/** Something that protoc-gen-es exports from the code of a file. */
export interface Export {
  readonly file: DescFile;
  readonly desc: Exported;
  /** True for a message's type and for an enum; false for a descriptor. */
  readonly isShape: boolean;
  /** Its name in the code of its file. */
  readonly name: string;
  /** Its name in the package. */
  readonly exported: string;
}

/**
 * Names what is generated for the services of a package. `PdfService` gives
 * `PdfWorker`, `PdfClient`, ...; where such a name is taken already in the
 * package, `PdfServiceWorker`, and where that is too, `PdfService$Worker`.
 */
export function nameServices(
  files: readonly DescFile[],
  exports: readonly Export[],
): Map<DescService, ServiceNames> {
  const taken = new Set(exports.flatMap(({ name, exported }) => [name, exported]));
  const names = new Map<DescService, ServiceNames>();
  // Of `Pdf` and `PdfService`, the first has the better claim to `PdfClient`.
  const services = files.flatMap((file) => file.services);
  const isShort = (service: DescService) => shorten(service.name) === service.name;
  for (const service of [
    ...services.filter(isShort),
    ...services.filter((service) => !isShort(service)),
  ]) {
    const bases = [shorten(service.name), service.name, `${service.name}$`];
    const free = bases.map(namesFor).find((its) => its.every((name) => !taken.has(name)));
    const chosen = free ?? namesFor(`${service.name}$$`);
    for (const name of chosen) {
      taken.add(name);
    }
    const [worker, client, createClient] = chosen;
    const own = exports.find(({ desc }) => desc === service)?.exported ?? service.name;
    names.set(service, { service: own, worker, client, createClient });
  }
  return names;
}

function shorten(service: string): string {
  return service.replace(/(?<=.)Service$/, "");
}

function namesFor(base: string): [string, string, string] {
  return [`${base}Worker`, `${base}Client`, `create${base}Client`];
}

/**
 * The names that protoc-gen-es exports from the files of a package. Within a file, it
 * names types first, and adds a `$` to a name that is taken. So does the package, where
 * two of its files export the same name.
 */
export function exportsOf(f: GeneratedFile, files: readonly DescFile[]): Export[] {
  const own = files.flatMap((file) =>
    [file, ...nestedTypes(file)].flatMap((desc): Omit<Export, "exported">[] => {
      const schema = { file, desc, name: f.importSchema(desc).name, isShape: false };
      return desc.kind === "message" || desc.kind === "enum"
        ? [{ ...schema, name: f.importShape(desc).name, isShape: true }, schema]
        : [schema];
    }),
  );
  const names = new Set(own.map(({ name }) => name));
  const taken = new Set<string>();
  const withExported = (its: Omit<Export, "exported">): Export => {
    let exported = its.name;
    while (taken.has(exported) || (exported !== its.name && names.has(exported))) {
      exported += "$";
    }
    taken.add(exported);
    return { ...its, exported };
  };
  return [
    ...own.filter(({ isShape }) => isShape).map(withExported),
    ...own.filter(({ isShape }) => !isShape).map(withExported),
  ];
}
