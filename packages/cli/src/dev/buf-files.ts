import { existsSync, readFileSync } from "node:fs";
import { normalize, sep } from "node:path";

/** Folders of a repository that matter to buf. */
export interface BufFiles {
  /** There is a schema here. */
  readonly hasSchema: boolean;
  /** Code is generated from it. */
  readonly hasTemplate: boolean;
  /** Folders with .proto files that people write. */
  readonly sources: readonly string[];
  /** Folders that buf writes. */
  readonly outputs: readonly string[];
}

/** Reads which folders `buf.yaml` and `buf.gen.yaml` name. */
export function readBufFiles(): BufFiles {
  const [config, template] = ["buf.yaml", "buf.gen.yaml"].map(read);
  const modules = valuesOf("path", config ?? "").filter(
    (path) => !path.split(sep).includes("node_modules"),
  );
  return {
    hasSchema: config !== undefined,
    hasTemplate: template !== undefined,
    sources: config === undefined ? [] : modules.length > 0 ? modules : ["."],
    outputs: valuesOf("out", template ?? ""),
  };
}

function read(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}

/** The paths that a key has anywhere in a file: all that is asked of its YAML. */
function valuesOf(key: string, yaml: string): string[] {
  const value = `"([^"]+)"|'([^']+)'|([^\\s"'#](?:[^\\n#]*[^\\s#])?)`;
  const pattern = new RegExp(`^[ \\t]*(?:-[ \\t]+)*${key}:[ \\t]*(?:${value})`, "gm");
  return Array.from(yaml.matchAll(pattern), ([, double, single, plain]) =>
    normalize(double ?? single ?? plain ?? "").replace(/[\\/]$/, ""),
  );
}
