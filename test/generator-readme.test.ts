import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";

/** Does what the generator's README says, in a repository that is not this one. */
const top = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "jetrpc-generator-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function run(command: string, args: string[], cwd = folder): Promise<string> {
  return (await promisify(execFile)(command, args, { cwd })).stdout;
}

async function install(...args: string[]): Promise<void> {
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...args]);
}

/** The blocks of a page in one language. */
function blocks(page: string, language: string): string[] {
  const text = readFileSync(join(top, page), "utf8");
  const fence = new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, "g");
  return Array.from(text.matchAll(fence), ([, block = ""]) => block);
}

test("a repository of one's own generates packages that are built", async () => {
  const tarballs: string[] = [];
  for (const name of ["runtime", "protoc-gen-jetrpc"]) {
    const args = ["pack", "--json", "--pack-destination", folder];
    const packed = JSON.parse(await run("npm", args, join(top, "packages", name)));
    tarballs.push(`./${(packed as { filename: string }[])[0]?.filename}`);
  }
  const { devDependencies } = JSON.parse(readFileSync(join(top, "package.json"), "utf8"));
  const tools = ["@bufbuild/buf", "@bufbuild/protoc-gen-es"];
  const [buf = "", generate = ""] = blocks("packages/protoc-gen-jetrpc/README.md", "yaml");
  const contract = blocks("README.md", "proto").find((block) => block.startsWith("syntax")) ?? "";
  writeFileSync(join(folder, "buf.yaml"), buf);
  writeFileSync(join(folder, "buf.gen.yaml"), generate);
  mkdirSync(join(folder, "proto/greet/v1"), { recursive: true });
  const options = `import "jetrpc/v1/options.proto";\n\n// GreetService`;
  const service = `service GreetService {\n  option (jetrpc.v1.service) = {stream: "GREET"};`;
  writeFileSync(
    join(folder, "proto/greet/v1/greet.proto"),
    contract.replace("// GreetService", options).replace("service GreetService {", service),
  );
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: "own", private: true, type: "module", workspaces: ["gen/**"] }),
  );

  await install(...tarballs, ...tools.map((tool) => `${tool}@${devDependencies[tool]}`));
  await run("npx", ["buf", "generate"]);
  await install();
  await run("npm", ["run", "build", "--workspaces"]);

  for (const file of ["index.js", "index.cjs", "index.d.ts"]) {
    expect(existsSync(join(folder, "gen/greet/v1/dist", file))).toBe(true);
  }
  const program = `import { greetBinding } from "@acme/greet-v1-client"; console.log(greetBinding.stream)`;
  expect(await run(process.execPath, ["--input-type=module", "-e", program])).toBe("GREET\n");
}, 120_000);
