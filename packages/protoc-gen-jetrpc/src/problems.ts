import type { DescFile, DescMethod, DescService } from "@bufbuild/protobuf";
import { bindService, checkService, type ServiceBinding } from "@jetrpc/runtime";

/** Numbers of the fields that make up a path in SourceCodeInfo, from descriptor.proto. */
const serviceOfFile = 6;
const methodOfService = 2;
const optionsOf = { service: 3, rpc: 4 } as const;
/** Number of our extensions. */
const extension = 51190;

/**
 * Finds every option that contradicts another one, or cannot be, in the given
 * files. Each line says `file:line:column: what is wrong, and the mend`.
 */
export function findProblems(files: readonly DescFile[]): string[] {
  const problems: string[] = [];
  const services: ServiceBinding[] = [];
  for (const file of files) {
    for (const service of file.services) {
      const own = checkService(service);
      problems.push(...own.map((p) => `${locate(p.desc, p.field)}: ${p.message}`));
      if (own.length === 0) {
        services.push(bindService(service));
      }
    }
  }
  for (const [index, service] of services.entries()) {
    for (const other of services.slice(0, index)) {
      problems.push(...findConflicts(service, other));
    }
  }
  return problems;
}

/** What two services cannot share. */
function findConflicts(service: ServiceBinding, other: ServiceBinding): string[] {
  const conflicts: string[] = [];
  const rival = other.desc.typeName;
  if (isWithin(service.prefix, other.prefix) || isWithin(other.prefix, service.prefix)) {
    conflicts.push(
      `${locate(service.desc, "subject_prefix")}: the subjects below "${service.prefix}" and those of ${rival} below "${other.prefix}" overlap: give one of them another subject_prefix`,
    );
  }
  if (hasStreams(service) && hasStreams(other)) {
    const names = [other.stream, other.logStream];
    const shared = [service.stream, service.logStream].find((name) => names.includes(name));
    if (shared) {
      conflicts.push(
        `${locate(service.desc, "stream")}: ${rival} has the stream "${shared}" too: give one of them another stream`,
      );
    }
  }
  return conflicts;
}

/** True when a subject prefix is the same as another one or begins with its tokens. */
function isWithin(prefix: string, other: string): boolean {
  return `${prefix}.`.startsWith(`${other}.`);
}

/** True when the service needs streams. */
export function hasStreams(service: ServiceBinding): boolean {
  return [...service.methods.values()].some((method) => method.delivery === "durable");
}

/** `file:line:column` of an option's field, or as near to it as the compiler tells. */
function locate(desc: DescService | DescMethod, field: string): string {
  const file = desc.kind === "service" ? desc.file : desc.parent.file;
  const path = pathOf(desc);
  const options = [...path, optionsOf[desc.kind], extension];
  const locations = file.proto.sourceCodeInfo?.location ?? [];
  const candidates = locations.filter(
    ({ path: its }) => isPrefix(options, its) || isPrefix(its, path),
  );
  const number = fieldNumber(desc, field);
  // A field's own option statement, else the message literal, else what has the option.
  const best =
    candidates.find(
      ({ path: its }) => its.length > options.length && its[options.length] === number,
    ) ??
    candidates.find(({ path: its }) => isPrefix(options, its)) ??
    candidates.find(({ path: its }) => its.length === path.length);
  const [line, column] = best?.span ?? [];
  const name = `${file.name}.proto`;
  return line === undefined || column === undefined ? name : `${name}:${line + 1}:${column + 1}`;
}

function pathOf(desc: DescService | DescMethod): number[] {
  if (desc.kind === "service") {
    return [serviceOfFile, desc.file.services.indexOf(desc)];
  }
  return [...pathOf(desc.parent), methodOfService, desc.parent.methods.indexOf(desc)];
}

function isPrefix(prefix: readonly number[], path: readonly number[]): boolean {
  return prefix.length <= path.length && prefix.every((number, index) => path[index] === number);
}

/** Number of a field of our options message; as the .proto of the user imports it. */
function fieldNumber(desc: DescService | DescMethod, field: string): number | undefined {
  const file = desc.kind === "service" ? desc.file : desc.parent.file;
  const name = desc.kind === "service" ? "ServiceOptions" : "MethodOptions";
  return file.dependencies
    .find((dependency) => dependency.name === "jetrpc/v1/options")
    ?.messages.find((message) => message.name === name)
    ?.fields.find((its) => its.name === field)?.number;
}
