import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createFileRegistry, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const top = join(import.meta.dirname, "../../..");
const cache = join(import.meta.dirname, "../.cache");

/** All .proto files of this repository that `buf.yaml` has. */
export function repositoryProtos(): FileRegistry {
  return compile(top);
}

/** .proto files of a folder: those that are named, with what they import; or all of it. */
export function compile(folder: string, ...paths: string[]): FileRegistry {
  const args = [
    "build",
    folder,
    "-o",
    "-",
    ...paths.flatMap((path) => ["--path", join(folder, path)]),
  ];
  const image = execFileSync(join(top, "node_modules/.bin/buf"), args, { maxBuffer: 1 << 28 });
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
}

/** The folder of an npm package that has .proto files. It is loaded once, and not installed. */
export function npmPackage(name: string): string {
  const folder = join(cache, name.replace("/", "+"));
  if (!existsSync(join(folder, "package.json"))) {
    mkdirSync(folder, { recursive: true });
    const args = ["pack", name, "--silent", "--prefer-offline", "--pack-destination", folder];
    const tarball = execFileSync("npm", args, { cwd: folder, encoding: "utf8" }).trim();
    execFileSync("tar", ["xzf", tarball, "--strip-components=1"], { cwd: folder });
  }
  return folder;
}
