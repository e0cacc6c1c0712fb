import type { DescFile } from "@bufbuild/protobuf";

/** A file and all that it imports, each after what it imports itself. */
export function withImports(file: DescFile): DescFile[] {
  const files = new Map<string, DescFile>();
  collect(file, files);
  return [...files.values()];
}

function collect(file: DescFile, files: Map<string, DescFile>): void {
  if (files.has(file.name)) {
    return;
  }
  for (const dependency of file.dependencies) {
    collect(dependency, files);
  }
  files.set(file.name, file);
}
