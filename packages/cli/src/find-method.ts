import type { DescMethod } from "@bufbuild/protobuf";
import { UsageError } from "./exit-code.js";

/** The full name of a method, as the tables of this command have it: `pdf.v1.PdfService.Split`. */
export function fullName({ parent, name }: DescMethod): string {
  return `${parent.typeName}.${name}`;
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
  const wanted = name.replace("/", ".");
  const exact = methods.filter((method) => fullName(method) === wanted);
  const found =
    exact.length > 0 ? exact : methods.filter((method) => fullName(method).endsWith(`.${wanted}`));
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
