import type {
  DescEnum,
  DescExtension,
  DescFile,
  DescMessage,
  DescService,
} from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import type { GeneratedFile } from "@bufbuild/protoplugin";

/** What is generated for a service, by name. */
export interface ServiceNames {
  /** Its descriptor, which protoc-gen-es generates. */
  readonly service: string;
  readonly worker: string;
  readonly client: string;
  readonly createClient: string;
  readonly binding: string;
}

/** Whatever protoc-gen-es exports something for. */
export type Exported = DescFile | DescMessage | DescEnum | DescExtension | DescService;

/**
 * Names what is generated for the services of a package. `PdfService` gives
 * `PdfWorker`, `PdfClient`, ...; where such a name is taken already in the
 * package, `PdfServiceWorker`, and where that is too, `PdfService$Worker`.
 */
export function nameServices(
  f: GeneratedFile,
  files: readonly DescFile[],
): Map<DescService, ServiceNames> {
  const taken = new Set(exportsOf(f, files).map(({ name }) => name));
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
    const [worker, client, createClient, binding] = chosen;
    const own = f.importSchema(service).name;
    names.set(service, { service: own, worker, client, createClient, binding });
  }
  return names;
}

function shorten(service: string): string {
  return service.replace(/(?<=.)Service$/, "");
}

function namesFor(base: string): [string, string, string, string] {
  return [
    `${base}Worker`,
    `${base}Client`,
    `create${base}Client`,
    `${base.charAt(0).toLowerCase()}${base.slice(1)}Binding`,
  ];
}

/** What protoc-gen-es exports from the code of files. */
export function exportsOf(
  f: GeneratedFile,
  files: readonly DescFile[],
): { readonly name: string; readonly desc: Exported }[] {
  return files.flatMap((file) =>
    [file, ...nestedTypes(file)].flatMap((desc) => {
      const descriptor = { name: f.importSchema(desc).name, desc };
      return desc.kind === "message" || desc.kind === "enum"
        ? [{ name: f.importShape(desc).name, desc }, descriptor]
        : [descriptor];
    }),
  );
}
