import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { UsageError } from "./exit-code.js";

/** The full name of a method, as the tables of this command have it: `pdf.v1.PdfService.Split`. */
export function fullName({ parent, name }: DescMethod): string {
  return `${parent.typeName}.${name}`;
}

/** True when a name is the full name of a method, or the end of it; a dot and a slash are the same. */
function isNamed(method: DescMethod, name: string): boolean {
  return `.${fullName(method)}`.endsWith(`.${name.replace("/", ".")}`);
}

/**
 * The method that a name means: in full, `pdf.v1.PdfService/Split`, or the end of it that no
 * other method has, `PdfService/Split` or `Split`; a dot does as well. `kind` tells in errors
 * which methods there are. Throws UsageError for a name of no method or several.
 */
export function findMethodNamed(
  methods: readonly DescMethod[],
  name: string,
  kind: string,
): DescMethod {
  const exact = methods.filter((method) => fullName(method) === name.replace("/", "."));
  const found = exact.length > 0 ? exact : methods.filter((method) => isNamed(method, name));
  const [only] = found;
  if (only && found.length === 1) {
    return only;
  }
  const list = (these: readonly DescMethod[]) => these.map(fullName).join(", ") || "none";
  throw new UsageError(
    only
      ? `several services have a method ${name}: write one of ${list(found)}`
      : `no ${kind} is named ${name}: there are ${list(methods)}`,
  );
}

/**
 * The names of the methods that are meant, by their services: a name means that method of each
 * service that has it, and a service with none of them is left out. Without names all are meant.
 * Throws UsageError for a name of no method.
 */
export function methodsOfServices(
  services: readonly DescService[],
  names: readonly string[] | undefined,
): Map<DescService, readonly string[] | undefined> {
  if (names === undefined) {
    return new Map(services.map((service) => [service, undefined]));
  }
  const isMeant = (name: string) => (method: DescMethod) =>
    isNamed(method, name) || method.localName === name;
  const all = services.flatMap(({ methods }) => methods);
  const unknown = names.find((name) => !all.some(isMeant(name)));
  if (unknown !== undefined) {
    const known = all.map(fullName).join(", ");
    throw new UsageError(`there is no method ${unknown}: there are ${known}`);
  }
  const meant = all.filter((method) => names.some((name) => isMeant(name)(method)));
  return new Map(
    [...new Set(meant.map(({ parent }) => parent))].map((service) => [
      service,
      meant.filter(({ parent }) => parent === service).map(({ name }) => name),
    ]),
  );
}
