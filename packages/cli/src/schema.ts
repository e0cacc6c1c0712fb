import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import {
  createFileRegistry,
  type DescFile,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@jetrpc/runtime";
import { bindService, checkService } from "@jetrpc/runtime/schema";
import { UsageError } from "./exit-code.js";
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
  readonly registry: FileRegistry;
}

/** Nobody says where the schema is. */
export class NoSchema extends UsageError {}

/** No image is larger, in bytes. */
const maxImage = 256 * 1024 * 1024;

/**
 * Reads the schema: the given file, the one of JETRPC_DESCRIPTORS, or what buf
 * builds in this folder.
 *
 * Throws UsageError when there is none or it has no such service, and
 * InvalidArgument when it cannot be read or its options cannot be.
 */
export async function loadSchema({ descriptors, service = [] }: SchemaOptions): Promise<Schema> {
  const path = descriptors ?? process.env["JETRPC_DESCRIPTORS"];
  const registry = parse(path ? readImage(path) : await buildImage(), path ?? "what buf builds");
  const services = select(registry, service);
  const problems = services.flatMap((desc) =>
    checkService(desc).map((problem) => `${locate(problem)}: ${problem.message}`),
  );
  if (problems.length > 0) {
    throw new ConnectError(problems.join("\n"), Code.InvalidArgument);
  }
  refuseSharedStreams(services);
  return { services, registry };
}

function readImage(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch {
    throw new UsageError(`${path} cannot be read: make it with \`buf build -o ${path}\``);
  }
}

async function buildImage(): Promise<Uint8Array> {
  if (!existsSync("buf.yaml")) {
    throw new NoSchema(
      "no schema: run it where buf.yaml is, or name an image with --descriptors FILE or JETRPC_DESCRIPTORS (make one with `buf build -o image.binpb`)",
    );
  }
  const PATH = [...localBins(process.cwd()), process.env["PATH"]].join(delimiter);
  try {
    const { stdout } = await promisify(execFile)("buf", ["build", "-o", "-"], {
      env: { ...process.env, PATH },
      encoding: "buffer",
      maxBuffer: maxImage,
    });
    return stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: string | number; stderr?: Buffer };
    if (code === "ENOENT") {
      throw new UsageError(
        "buf is not installed: run `npm install --save-dev @bufbuild/buf`, or name an image with --descriptors FILE",
      );
    }
    const why = stderr?.toString().trim() || String(error);
    throw new ConnectError(`buf build failed:\n${why}`, Code.InvalidArgument);
  }
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

function select(registry: FileRegistry, names: readonly string[]): DescService[] {
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
      : all.filter(usesJetrpc);
  if (chosen.length === 0) {
    throw new UsageError(
      `no service of the schema has a durable method or options of jetrpc: name one with --service (it has ${list(known)})`,
    );
  }
  return chosen.sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
}

/** Two services that share a stream would undo each other's changes. */
function refuseSharedStreams(services: readonly DescService[]): void {
  const owners = new Map<string, DescService>();
  for (const desc of services) {
    const { stream } = bindService(desc);
    const other = owners.get(stream);
    if (other) {
      throw new UsageError(
        `${other.typeName} and ${desc.typeName} have the same stream ${stream}: give one of them another, or choose one with --service`,
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
