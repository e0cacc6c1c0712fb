import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { MethodOptionsSchema, ServiceOptionsSchema } from "@jetrpc/runtime/jetrpc/v1/options_pb.js";
import { bindService, checkService, type ServiceBinding } from "@jetrpc/runtime/schema";
import type { Exported } from "./names.js";
import type { ProtoPackage } from "./proto-package.js";

/** Numbers of the options in ServiceDescriptorProto and MethodDescriptorProto, and of ours. */
const optionsOf = { service: 3, rpc: 4 } as const;
const extension = 51190;

/** npm takes no longer names. */
const maxNpmName = 214;
/** NATS takes no longer names of streams; ours get up to 12 characters more. */
const maxStream = 240;
/** Nor of consumers. */
const maxConsumer = 255;

/** Names that protoc-gen-es does not escape, though no module can export them. */
const reserved = ["arguments", "await", "eval"];
/** The same, of types. */
const reservedTypes = "any as infer keyof never readonly symbol undefined unique unknown".split(
  " ",
);
/** The same, of values that CommonJS exports. */
const reservedValues = ["__esModule", "__proto__"];
/** The names that no message, enum, service or extension may have, by its kind. */
const reservedOf: Partial<Record<Exported["kind"], readonly string[]>> = {
  message: [...reserved, ...reservedTypes],
  // In CommonJS, an enum `exports` would take the place of all exports.
  enum: [...reserved, ...reservedTypes, ...reservedValues, "exports"],
  service: [...reserved, ...reservedValues],
  extension: [...reserved, ...reservedValues],
};

/**
 * Finds all that cannot be, or contradicts itself, in the given packages. Each
 * line says `file:line:column: what is wrong, and the mend`.
 */
export function findProblems(packages: readonly ProtoPackage[]): string[] {
  const descs = packages.flatMap(({ files }) => files.flatMap((file) => file.services));
  const sound = descs.filter((desc) => checkService(desc).length === 0).map(bindService);
  return [
    ...packages.flatMap((pkg, index) => findPackageProblems(pkg, packages.slice(0, index))),
    ...descs.flatMap(findServiceProblems),
    ...sound.flatMap((service, index) =>
      sound.slice(0, index).flatMap((other) => findConflicts(service, other)),
    ),
  ];
}

/** The names that npm cannot take, and those that no module can export. */
function findPackageProblems(pkg: ProtoPackage, others: readonly ProtoPackage[]): string[] {
  const problems: string[] = [];
  const at = pkg.files[0] ? locate(pkg.files[0]) : "";
  const twin = others.find(({ npmName }) => npmName === pkg.npmName);
  if (twin) {
    problems.push(
      `${at}: package "${pkg.name}" and package "${twin.name}" of ${twin.files[0]?.name}.proto would both be the npm package ${pkg.npmName}: rename one of them`,
    );
  }
  if (pkg.npmName.length > maxNpmName) {
    problems.push(
      `${at}: package "${pkg.name}" gives a name of ${pkg.npmName.length} characters, and npm takes ${maxNpmName}: shorten it`,
    );
  }
  for (const { name, desc, isShape } of pkg.exports) {
    const isOwnName = isShape || desc.kind === "service" || desc.kind === "extension";
    if (isOwnName && reservedOf[desc.kind]?.includes(name)) {
      problems.push(
        `${locate(desc)}: "${name}" is a word of JavaScript or TypeScript: rename ${desc}`,
      );
    }
  }
  return problems;
}

/** The problems of one service. */
function findServiceProblems(desc: DescService): string[] {
  const own = checkService(desc);
  const problems = own.map((its) => `${locate(its.desc, its.field)}: ${its.message}`);
  for (const [index, method] of desc.methods.entries()) {
    if (method.localName === "__proto__") {
      // Connect's client would take it for its prototype.
      problems.push(
        `${locate(method)}: JavaScript keeps the name "__proto__" for itself: rename the method`,
      );
    }
    const twin = desc.methods.slice(0, index).find((its) => its.localName === method.localName);
    if (twin) {
      problems.push(
        `${locate(method)}: the methods ${twin.name} and ${method.name} would both be "${method.localName}" in TypeScript: rename one of them`,
      );
    }
  }
  if (own.length > 0) {
    return problems;
  }
  const { stream, methods } = bindService(desc);
  if (stream.length > maxStream) {
    problems.push(
      `${locate(desc, "stream")}: the name of ${desc.name} is too long for its stream: set stream`,
    );
  }
  for (const { desc: method, delivery, queues } of methods.values()) {
    const longest = Math.max(...queues.map(({ consumer }) => consumer.length));
    if (delivery === "durable" && longest > maxConsumer) {
      problems.push(
        `${locate(method)}: the name of a method of ${desc.name} makes a consumer of ${longest} characters, and NATS takes ${maxConsumer}: shorten it`,
      );
    }
  }
  return problems;
}

/** The subjects and streams that two services share and must not. */
function findConflicts(service: ServiceBinding, other: ServiceBinding): string[] {
  const conflicts: string[] = [];
  const rival = other.desc.typeName;
  if (isWithin(service.prefix, other.prefix) || isWithin(other.prefix, service.prefix)) {
    conflicts.push(
      `${locate(service.desc, "subject_prefix")}: the subjects below "${service.prefix}" and those of ${rival} below "${other.prefix}" overlap: give one of them another subject_prefix`,
    );
  }
  const shared = streamsOf(service).find((name) => streamsOf(other).includes(name));
  if (shared) {
    conflicts.push(
      `${locate(service.desc, "stream")}: ${rival} has the stream "${shared}" too: give one of them another stream`,
    );
  }
  return conflicts;
}

/** True when a subject prefix is the same as another one or begins with its tokens. */
function isWithin(prefix: string, other: string): boolean {
  return `${prefix}.`.startsWith(`${other}.`);
}

/** Every JetStream stream of a service. Large payloads of direct calls have one, too. */
function streamsOf(service: ServiceBinding): string[] {
  const { stream, logStream, progressStream, deadStream, laterStream, payloadBucket } = service;
  const bucket = `OBJ_${payloadBucket}`;
  return [...service.methods.values()].some((method) => method.delivery === "durable")
    ? [stream, logStream, progressStream, deadStream, laterStream, bucket]
    : [bucket];
}

/** `file:line:column` of something, or of a field of its option, as near as the compiler tells. */
function locate(desc: Exported | DescMethod, field?: string): string {
  const file = fileOf(desc);
  const own = pathOf(desc);
  const isIn = (path: readonly number[]) => (its: { path: number[] }) =>
    path.every((number, index) => its.path[index] === number);
  const places: number[][] = [own];
  if (field && (desc.kind === "service" || desc.kind === "rpc")) {
    const message = desc.kind === "service" ? ServiceOptionsSchema : MethodOptionsSchema;
    const number = message.fields.find(({ name }) => name === field)?.number ?? 0;
    const option = [...own, optionsOf[desc.kind], extension];
    // The field, of which a list has a place for each value only; else the
    // whole option; else what has the option.
    places.unshift([...option, number], option);
  }
  const locations = [...(file.proto.sourceCodeInfo?.location ?? [])].sort(
    (a, b) => a.path.length - b.path.length,
  );
  const found = places.map((path) => locations.find(isIn(path))).find((its) => its !== undefined);
  const [line, column] = found?.span ?? [];
  const { name } = file.proto;
  return line === undefined || column === undefined ? name : `${name}:${line + 1}:${column + 1}`;
}

function fileOf(desc: Exported | DescMethod) {
  if (desc.kind === "file") {
    return desc;
  }
  return desc.kind === "rpc" ? desc.parent.file : desc.file;
}

/** Where SourceCodeInfo has something: field numbers of descriptor.proto, and indexes. */
function pathOf(desc: Exported | DescMethod): number[] {
  switch (desc.kind) {
    case "file":
      return [2]; // its package statement
    case "service":
      return [6, desc.file.services.indexOf(desc)];
    case "rpc":
      return [...pathOf(desc.parent), 2, desc.parent.methods.indexOf(desc)];
    case "message":
      return desc.parent
        ? [...pathOf(desc.parent), 3, desc.parent.proto.nestedType.indexOf(desc.proto)]
        : [4, desc.file.messages.indexOf(desc)];
    case "enum":
      return desc.parent
        ? [...pathOf(desc.parent), 4, desc.parent.proto.enumType.indexOf(desc.proto)]
        : [5, desc.file.enums.indexOf(desc)];
    case "extension":
      return desc.parent
        ? [...pathOf(desc.parent), 6, desc.parent.proto.extension.indexOf(desc.proto)]
        : [7, desc.file.extensions.indexOf(desc)];
  }
}
