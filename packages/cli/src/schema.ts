import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import {
  createFileRegistry,
  createRegistry,
  type DescFile,
  type DescService,
  type FileRegistry,
  fromBinary,
  type Registry,
} from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import {
  Code,
  ConnectError,
  type Connection,
  describeService,
  listServices,
} from "@jetrpc/runtime";
import { bindService, checkService, typesOf } from "@jetrpc/runtime/schema";
import { UsageError } from "./exit-code.js";
import { environment, host } from "./host.js";
import { locate } from "./locate.js";

/** Where the schema is, and what of it is meant. */
export interface SchemaOptions {
  /** Path of a FileDescriptorSet or an image of buf. */
  descriptors?: string;
  /** Full names of services. */
  service?: string[];
}

/** The services that a command is about. */
export interface Schema {
  readonly services: readonly DescService[];
  /** All types, to show messages with. */
  readonly registry: Registry;
}

/** True when somebody says where the schema is. */
export async function hasSchema(options: SchemaOptions): Promise<boolean> {
  return (await descriptorsOf(options)) !== undefined || existsSync("buf.yaml");
}

/** The path of the image that somebody names: on the command line, in the environment or in .env. */
export async function descriptorsOf({ descriptors }: SchemaOptions): Promise<string | undefined> {
  return (descriptors ?? (await environment())["JETRPC_DESCRIPTORS"]) || undefined;
}

/** What a command is about, and how it is told where the schema is. */
interface SchemaNeeds {
  /** Services without durable methods and options of jetrpc are meant, too. */
  readonly anyService?: boolean;
  /** False for a command without {@link SchemaOptions}: its errors name none of them. */
  readonly hasOptions?: boolean;
}

/** Nobody says where the schema is. */
export class NoSchema extends UsageError {}

/** How long workers may take to describe themselves, in ms. */
const answerMs = 5_000;

/** No image is larger, in bytes. */
const maxImage = 256 * 1024 * 1024;

/**
 * Reads the schema: the given file, the one of JETRPC_DESCRIPTORS, or what buf
 * builds in this folder.
 *
 * Throws UsageError when there is none or it has no such service, and
 * InvalidArgument when it cannot be read or its options cannot be.
 */
export async function loadSchema(
  options: SchemaOptions,
  { anyService = false, hasOptions = true }: SchemaNeeds = {},
): Promise<Schema> {
  const { service = [] } = options;
  const path = await descriptorsOf(options);
  const registry = parse(
    path ? readImage(path) : await buildImage(hasOptions),
    path ?? "what buf builds",
  );
  const services = select(registry, service, { anyService, hasOptions });
  const problems = services.flatMap((desc) =>
    checkService(desc).map((problem) => `${locate(problem)}: ${problem.message}`),
  );
  if (problems.length > 0) {
    throw new ConnectError(problems.join("\n"), Code.InvalidArgument);
  }
  refuseSharedStreams(services, hasOptions);
  return { services, registry };
}

/**
 * The schema as running workers describe it: of the named services, of the one that `likely`
 * names if it runs, or of all.
 *
 * Throws Unavailable when no worker answers, PermissionDenied.
 */
export async function describedSchema(
  connection: Connection,
  names?: readonly string[],
  likely?: string,
): Promise<Schema> {
  const wrong = names?.find((name) => !/^\w+(\.\w+)*$/.test(name));
  if (wrong !== undefined) {
    throw new UsageError(
      `--service ${wrong} is no name of a service: write one like pdf.v1.PdfService`,
    );
  }
  const services = likely
    ? await describe(connection, likely).then((service) => [service], noneRuns)
    : [];
  if (services.length === 0) {
    const wanted = names ?? (await listNames(connection));
    const all = wanted.map((name) => describe(connection, name));
    services.push(...(await Promise.all(all)));
  }
  if (services.length === 0) {
    throw new ConnectError(
      "no worker answers, and no schema is here: start a worker, or name an image with --descriptors FILE or JETRPC_DESCRIPTORS",
      Code.Unavailable,
    );
  }
  return { services, registry: createRegistry(...services.map(typesOf)) };
}

/** That no worker is there is known at once: one that is may be busy. */
function describe(connection: Connection, name: string): Promise<DescService> {
  return describeService(connection, name, { timeoutMs: answerMs }).catch(refuseToAsk);
}

/** Says where else the schema may come from. */
function refuseToAsk(cause: unknown): never {
  throw denied(
    cause,
    "ask workers for the schema",
    "those of the roles client, observer and operator may (older ones: write them anew with `jetrpc permissions`), or name the schema with --descriptors FILE",
  );
}

function refuseToList(cause: unknown): never {
  throw denied(
    cause,
    "ask which services run",
    "those of the roles observer and operator may; others name a service with --service, a method in full, or the schema with --descriptors FILE",
  );
}

function denied(cause: unknown, what: string, mend: string): unknown {
  const { code, rawMessage } = ConnectError.from(cause);
  return code === Code.PermissionDenied
    ? new ConnectError(
        `these credentials may not ${what} (${rawMessage}): ${mend}`,
        Code.PermissionDenied,
        undefined,
        undefined,
        cause,
      )
    : cause;
}

function noneRuns(error: unknown): DescService[] {
  if (ConnectError.from(error).code === Code.Unavailable) {
    return [];
  }
  throw error;
}

async function listNames(connection: Connection): Promise<string[]> {
  const ask = (timeoutMs?: number) => listServices(connection, { timeoutMs }).catch(refuseToList);
  const few = await ask();
  const running = few.length > 0 ? few : await ask(answerMs);
  return [...new Set(running.map(({ typeName }) => typeName))].sort();
}

function readImage(path: string): Uint8Array {
  try {
    const image = readFileSync(path);
    if (image.length > 0) {
      return image;
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") {
      throw new UsageError(`${path} cannot be read: ${(cause as Error).message}`);
    }
    throw new UsageError(`${path} cannot be read: make it with \`buf build -o ${path}\``);
  }
  throw new UsageError(`${path} is empty: make it anew with \`buf build -o ${path}\``);
}

async function buildImage(hasOptions: boolean): Promise<Uint8Array> {
  const byOption = hasOptions ? "--descriptors FILE or " : "";
  const otherwise = `name an image with ${byOption}JETRPC_DESCRIPTORS`;
  if (!existsSync("buf.yaml")) {
    throw new NoSchema(
      `no schema: run it where buf.yaml is, or ${otherwise} (make one with \`buf build -o image.binpb\`)`,
    );
  }
  try {
    return await runBuf(["build", "-o", "-"]);
  } catch (cause) {
    if (cause instanceof BufMissing) {
      throw new UsageError(`${cause.message}, or ${otherwise}`);
    }
    throw cause;
  }
}

/** buf is not there. */
export class BufMissing extends Error {
  constructor() {
    super("buf is not installed: run `npm install --save-dev @bufbuild/buf`");
  }
}

/**
 * Runs buf, that of this folder before any other, and returns what it writes to stdout. Throws
 * BufMissing, and InvalidArgument when it ends with another code than `okCodes`.
 */
export async function runBuf(
  args: readonly string[],
  { okCodes = [0] }: { okCodes?: readonly number[] } = {},
): Promise<Buffer> {
  try {
    const { stdout } = await promisify(execFile)("buf", args, {
      env: { ...host().env, PATH: pathWithBins() },
      encoding: "buffer",
      maxBuffer: maxImage,
    });
    return stdout;
  } catch (error) {
    const failed = error as { code?: string | number; stdout?: Buffer; stderr?: Buffer };
    if (failed.code === "ENOENT") {
      throw new BufMissing();
    }
    if (okCodes.includes(Number(failed.code)) && failed.stdout) {
      return failed.stdout;
    }
    const why = failed.stderr?.toString().trim() || String(error);
    throw new ConnectError(`buf ${args[0]} failed:\n${why}`, Code.InvalidArgument);
  }
}

/** The PATH with what npm has installed for this folder before the rest, as scripts have it. */
export function pathWithBins(): string {
  return [...localBins(process.cwd()), host().env["PATH"]].join(delimiter);
}

/** Where npm puts what is installed for a folder. */
function localBins(folder: string): string[] {
  const parent = dirname(folder);
  const bin = join(folder, "node_modules", ".bin");
  return parent === folder ? [bin] : [bin, ...localBins(parent)];
}

function parse(image: Uint8Array, name: string): FileRegistry {
  try {
    return createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  } catch (cause) {
    throw new ConnectError(
      `${name} is no complete FileDescriptorSet (${String(cause)}): make it with \`buf build -o image.binpb\`, or protoc's --include_imports`,
      Code.InvalidArgument,
      undefined,
      undefined,
      cause,
    );
  }
}

function select(
  registry: FileRegistry,
  names: readonly string[],
  { anyService, hasOptions }: SchemaNeeds,
): DescService[] {
  const all = [...registry.files]
    .filter((file) => !isImport(file))
    .flatMap((file) => file.services);
  const known = all.map(({ typeName }) => typeName).sort();
  const unknown = names.find((name) => !registry.getService(name));
  if (unknown !== undefined) {
    throw new UsageError(`the schema has no service ${unknown}: it has ${list(known)}`);
  }
  const chosen =
    names.length > 0
      ? names.map((name) => registry.getService(name) as DescService)
      : all.filter((desc) => anyService || usesJetrpc(desc));
  if (chosen.length === 0) {
    throw new UsageError(
      `no service of the schema has a durable method or options of jetrpc${hasOptions ? ": name one with --service" : ""} (it has ${list(known)})`,
    );
  }
  return chosen.sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
}

/** Two services that share a stream would undo each other's changes. */
function refuseSharedStreams(services: readonly DescService[], hasOptions: boolean): void {
  const owners = new Map<string, DescService>();
  for (const desc of services) {
    const { stream } = bindService(desc);
    const other = owners.get(stream);
    if (other) {
      throw new UsageError(
        `${other.typeName} and ${desc.typeName} have the same stream ${stream}: give one of them another${hasOptions ? ", or choose one with --service" : ""}`,
      );
    }
    owners.set(stream, desc);
  }
}

function usesJetrpc(desc: DescService): boolean {
  const imports = desc.file.dependencies.map(({ proto }) => proto.name);
  return (
    imports.includes("jetrpc/v1/options.proto") ||
    // One whose options cannot be is to be reported.
    checkService(desc).length > 0 ||
    [...bindService(desc).methods.values()].some(({ delivery }) => delivery === "durable")
  );
}

function list(names: readonly string[]): string {
  return names.length > 0 ? names.join(", ") : "none";
}

/** buf notes in an extension which files are there only because others import them. */
const bufExtension = 8042;

function isImport({ proto }: DescFile): boolean {
  const noted = proto.$unknown?.find(({ no }) => no === bufExtension);
  if (!noted) {
    return false;
  }
  const reader = new BinaryReader(new BinaryReader(noted.data).bytes());
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag();
    if (no === 1) {
      return reader.bool();
    }
    reader.skip(type, no);
  }
  return false;
}
