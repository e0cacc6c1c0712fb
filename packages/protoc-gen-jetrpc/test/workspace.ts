import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

const here = import.meta.dirname;
const top = join(here, "../../..");
const bin = join(top, "node_modules/.bin");

/** What a program said, and how it ended. */
export interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/** A folder with .proto files, as a user of `buf generate` has it. */
export class Workspace {
  readonly folder: string;

  /** @param plugin options of protoc-gen-jetrpc */
  constructor(plugin: string[] = ["npm_scope=@acme"]) {
    // Inside the repository, so that the runtime is found as an installed package is.
    mkdirSync(join(here, "../.cache"), { recursive: true });
    this.folder = mkdtempSync(join(here, "../.cache/test-"));
    cpSync(join(top, "proto/jetrpc"), join(this.folder, "proto/jetrpc"), { recursive: true });
    this.write("package.json", `{ "type": "module" }`);
    this.write("buf.yaml", "version: v2\nmodules:\n  - path: proto\n");
    this.write("buf.gen.yaml", template(plugin));
  }

  /** Copies a folder of test/fixtures to where the .proto files are. */
  copyProtos(fixture: string): void {
    cpSync(join(here, "fixtures", fixture), join(this.folder, "proto"), { recursive: true });
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), text);
  }

  read(path: string): string {
    return readFileSync(join(this.folder, path), "utf8");
  }

  /** Paths and texts of what was generated. */
  generated(): Map<string, string> {
    const paths = readdirSync(join(this.folder, "gen"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.folder.length + 1))
      .sort();
    return new Map(paths.map((path) => [path, this.read(path)]));
  }

  /** Where tsc finds the generated packages by their names, as if they were installed. */
  packagePaths(): Record<string, string[]> {
    const manifests = [...this.generated()].filter(([path]) => path.endsWith("/package.json"));
    return Object.fromEntries(
      manifests.map(([path, text]) => [
        JSON.parse(text).name,
        [`./${path.replace("package.json", "index.ts")}`],
      ]),
    );
  }

  generate(): Outcome {
    return this.run("buf", ["generate"]);
  }

  /** Type-checks the given files as strictly as a user can. */
  typeCheck(files: string[], paths: Record<string, string[]> = {}): Outcome {
    const compilerOptions = {
      target: "ES2022",
      module: "NodeNext",
      lib: ["ES2023", "ESNext.Disposable"],
      types: ["node"],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      isolatedModules: true,
      verbatimModuleSyntax: true,
      skipLibCheck: true,
      noEmit: true,
      paths,
    };
    this.write("tsconfig.json", JSON.stringify({ compilerOptions, files }));
    return this.run("tsc", ["-p", "tsconfig.json"]);
  }

  run(program: string, args: string[], cwd = ".", env: Record<string, string> = {}): Outcome {
    const result = spawnSync(program, args, {
      cwd: join(this.folder, cwd),
      encoding: "utf8",
      env: { ...process.env, PATH: `${bin}:${process.env["PATH"]}`, NO_COLOR: "1", ...env },
    });
    if (result.error) {
      throw result.error;
    }
    return { status: result.status, output: result.stdout + result.stderr };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** The TypeScript in the READMEs among generated files, by paths to write it to. */
export function snippetsOf(files: ReadonlyMap<string, string>): Map<string, string> {
  const snippets = [...files]
    .filter(([path]) => path.endsWith("README.md"))
    .flatMap(([, text]) => [...text.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code ?? ""));
  return new Map(snippets.map((code, index) => [`snippets/snippet-${index}.ts`, code]));
}

function template(plugin: string[]): string {
  return `version: v2
clean: true
plugins:
  - local: protoc-gen-jetrpc
    out: gen
    strategy: all
    opt: ${JSON.stringify(plugin)}
inputs:
  - directory: proto
`;
}
