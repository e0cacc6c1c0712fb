import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

/** Does what the generator's README says, in repositories that are not this one. */
const top = join(import.meta.dirname, "..");
const tarballs = mkdtempSync(join(tmpdir(), "jetrpc-tarballs-"));
const packages = new Map<string, string>();

beforeAll(async () => {
  for (const name of ["runtime", "protoc-gen-jetrpc"]) {
    const args = ["pack", "--json", "--pack-destination", tarballs];
    const packed = JSON.parse(await run("npm", args, join(top, "packages", name)));
    packages.set(`@jetrpc/${name}`, `file:${join(tarballs, packed[0].filename)}`);
  }
});
afterAll(() => rmSync(tarballs, { recursive: true }));

async function run(command: string, args: string[], cwd: string): Promise<string> {
  // pnpm asks questions, unless this is CI.
  const env = { ...process.env, CI: "true" };
  return (await promisify(execFile)(command, args, { cwd, env })).stdout;
}

/** The blocks of a page in one language. */
function blocks(page: string, language: string): string[] {
  const text = readFileSync(join(top, page), "utf8");
  const fence = new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, "g");
  return Array.from(text.matchAll(fence), ([, block = ""]) => block);
}

/** A repository with a contract that imports the runtime's options and a contract of others. */
class Repository {
  readonly folder = mkdtempSync(join(tmpdir(), "jetrpc-generator-"));

  constructor(workspaces: readonly string[], tools: Record<string, string> = {}) {
    const [buf = "", generate = ""] = blocks("packages/protoc-gen-jetrpc/README.md", "yaml");
    const contract = blocks("README.md", "proto").find((block) => block.startsWith("syntax")) ?? "";
    this.write("buf.yaml", `${buf}  - path: vendor\n`);
    this.write("buf.gen.yaml", generate);
    this.write(
      "proto/greet/v1/greet.proto",
      contract
        .replace("// GreetService", `import "jetrpc/v1/options.proto";\n\n// GreetService`)
        .replace("// GreetService", `import "buf/validate/validate.proto";\n\n// GreetService`)
        .replace(
          "service GreetService {",
          `service GreetService {\n  option (jetrpc.v1.service) = {stream: "GREET"};`,
        )
        .replace("string name = 1;", "string name = 1 [(buf.validate.field).string.min_len = 2];"),
    );
    this.write("proto/gone/v1/gone.proto", `syntax = "proto3"; package gone.v1; message Gone {}`);
    this.write("vendor/buf/validate/validate.proto", validate);
    const { devDependencies } = JSON.parse(readFileSync(join(top, "package.json"), "utf8"));
    this.write(
      "package.json",
      JSON.stringify({
        name: "own",
        private: true,
        type: "module",
        dependencies: { "@jetrpc/runtime": packages.get("@jetrpc/runtime") },
        devDependencies: {
          "@jetrpc/protoc-gen-jetrpc": packages.get("@jetrpc/protoc-gen-jetrpc"),
          "@bufbuild/buf": devDependencies["@bufbuild/buf"],
          ...tools,
        },
        workspaces,
      }),
    );
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), text);
  }

  run(command: string, ...args: string[]): Promise<string> {
    return run(command, args, this.folder);
  }
}

/** What is used of protovalidate's own file, which buf fetches. */
const validate = `syntax = "proto2";
package buf.validate;
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { optional FieldRules field = 1159; }
message FieldRules { oneof type { StringRules string = 14; } }
message StringRules { optional uint64 min_len = 2; }
`;

const program = `
import { greetBinding, HelloRequestSchema } from "@acme/greet-v1-client";
import { StringRulesSchema } from "@acme/greet-v1-client/buf/validate/validate_pb.js";
import { connect } from "@jetrpc/runtime/node";
console.log(greetBinding.stream, HelloRequestSchema.typeName, StringRulesSchema.typeName, typeof connect);
`;
const printed = "GREET greet.v1.HelloRequest buf.validate.StringRules function\n";

describe("a repository of one's own", { timeout: 900_000 }, () => {
  test("generates packages with npm, and TypeScript 7 in it", async () => {
    // Version 7 has no API for JavaScript.
    const own = new Repository(["gen/**"], { typescript: "7.0.2" });
    const install = () => own.run("npm", "install", "--no-audit", "--no-fund", "--prefer-offline");
    await install();
    await own.run("npx", "buf", "generate");
    await install();
    await own.run("npm", "run", "build", "--workspaces");
    expect(await own.run(process.execPath, "--input-type=module", "-e", program)).toBe(printed);
    const common = `console.log(require("@acme/greet-v1-client").greetBinding.stream)`;
    expect(await own.run(process.execPath, "--input-type=commonjs", "-e", common)).toBe("GREET\n");
    await own.run("npx", "tsc", "--project", "gen/greet/v1");

    // What a removed .proto left goes, and a version that was set stays.
    rmSync(join(own.folder, "proto/gone"), { recursive: true });
    const template = readFileSync(join(own.folder, "buf.gen.yaml"), "utf8");
    const versions = "      - npm_version=1.2.3\n      - npm_version=greet.v1:2.0.0\n";
    own.write("buf.gen.yaml", template.replace(/( +- npm_scope=.*\n)/, `$1${versions}`));
    expect(existsSync(join(own.folder, "gen/gone"))).toBe(true);
    await own.run("npx", "buf", "generate");
    expect(existsSync(join(own.folder, "gen/gone"))).toBe(false);
    const manifest = readFileSync(join(own.folder, "gen/greet/v1/package.json"), "utf8");
    expect(JSON.parse(manifest).version).toBe("2.0.0");
    rmSync(own.folder, { recursive: true });
  });

  test("generates packages with pnpm, again and again", async () => {
    const own = new Repository([]);
    const overrides = [...packages].map(([name, path]) => `  "${name}": ${path}\n`).join("");
    own.write("pnpm-workspace.yaml", `packages: ["gen/**", app]\noverrides:\n${overrides}`);
    const pnpm = (...args: string[]) => own.run("npx", "--yes", "pnpm@10.34.9", ...args);
    await pnpm("install", "--no-frozen-lockfile");
    own.write(
      "app/package.json",
      JSON.stringify({
        name: "app",
        type: "module",
        dependencies: { "@acme/greet-v1-client": "workspace:*", "@jetrpc/runtime": "^0.1.0" },
      }),
    );
    own.write("app/app.js", program);
    for (const again of [[], ["--force"]]) {
      await pnpm("exec", "buf", "generate");
      await pnpm("install", "--no-frozen-lockfile", ...again);
      await pnpm("--recursive", "run", "build");
      expect(await own.run(process.execPath, "app/app.js")).toBe(printed);
    }
    rmSync(own.folder, { recursive: true });
  });
});
