import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { hears, packPackages, run, tarballs, top } from "./own-repository.js";

/**
 * The first hour of somebody who has a repository that is not this one: does what the
 * generator's README says, writes a worker and an app, and runs them.
 */
const packages = new Map<string, string>();

beforeAll(async () => {
  for (const [name, path] of await packPackages()) {
    packages.set(name, path);
  }
});
afterAll(() => rmSync(tarballs, { recursive: true }));

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
          "@types/node": devDependencies["@types/node"],
          ...tools,
        },
        workspaces,
        // The packages that these need are in no registry either.
        overrides: Object.fromEntries(packages),
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
import { GreetService, HelloRequestSchema } from "@acme/greet-v1-client";
import { StringRulesSchema } from "@acme/greet-v1-client/buf/validate/validate_pb.js";
import { connect } from "@jetrpc/runtime/node";
console.log(GreetService.typeName, HelloRequestSchema.typeName, StringRulesSchema.typeName, typeof connect);
`;
/** Both sides of the contract above. */
const worker = `
import { GreetService, type GreetWorker } from "@acme/greet-v1-client";
import { createValidateInterceptor } from "@connectrpc/validate";
import { Code, ConnectError, type Interceptor } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";

// Ends with the test, however that goes.
process.stdin.on("end", () => process.exit()).resume();
(process.stdin as unknown as { unref(): void }).unref();

const authenticate: Interceptor = (next) => async (request) => {
  if (request.header.get("authorization") !== "Bearer ada") {
    throw new ConnectError("who are you?", Code.Unauthenticated);
  }
  return next(request);
};

const impl: GreetWorker = {
  hello({ name }) {
    if (name === "bug") throw new TypeError("no greeting for this one");
    return { greeting: "Hello, " + name + "!" };
  },
  letter: async ({ name }, context) => {
    context.progress({ done: 1, total: 2, message: undefined });
    return { letter: "Dear " + name + ", this was attempt " + context.attempt + "." };
  },
};

await serve(GreetService, impl, { interceptors: [authenticate, createValidateInterceptor()] });
console.log("ready");
`;

const app = `
import { createGreetClient } from "@acme/greet-v1-client";
import { Code, ConnectError, type Interceptor } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";

const login: Interceptor = (next) => (request) => {
  request.header.set("authorization", "Bearer ada");
  return next(request);
};
const failed = (error: unknown) => {
  const { code, rawMessage } = ConnectError.from(error);
  return Code[code] + ": " + rawMessage;
};

const connection = await connect({ interceptors: [login] });
const greet = createGreetClient(connection);
console.log((await greet.hello({ name: "Ada" })).greeting);
const call = await greet.letter.submit({ name: "Ada" }, { callId: "letter-1" });
console.log((await call.result()).letter);
console.log(await greet.hello({ name: "A" }).catch(failed));
console.log(await greet.hello({ name: "bug" }).catch(failed));
await connection.close();
`;

const tsconfig = JSON.stringify({
  compilerOptions: {
    strict: true,
    exactOptionalPropertyTypes: true,
    target: "ES2022",
    module: "NodeNext",
    types: ["node"],
    skipLibCheck: true,
    outDir: "dist",
    rootDir: ".",
  },
  include: ["*.ts"],
});

const printed = "greet.v1.GreetService greet.v1.HelloRequest buf.validate.StringRules function\n";

/** A server, a worker and an app: what is asked is answered, and a bug is seen where it is. */
async function workAndCall(own: Repository): Promise<void> {
  own.write("worker.ts", worker);
  own.write("app.ts", app);
  own.write("tsconfig.json", tsconfig);
  await own.run("npx", "tsc");
  const server = spawn("npx", ["jetrpc", "server", "--port", "0"], {
    cwd: own.folder,
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  const serverEnds = once(server, "close");
  try {
    await callWorker(own, server);
  } finally {
    // Ctrl-C reaches all processes of the terminal's group.
    process.kill(-(server.pid as number), "SIGINT");
  }
  // Its output closes when the last process has ended that has it: the server has, too.
  await serverEnds;
}

async function callWorker(own: Repository, server: ChildProcess): Promise<void> {
  const [, url = ""] = /(NATS_URL=.+)/.exec(await hears(server, /NATS_URL=.+\n/)) ?? [];
  own.write(".env", `${url}\n`);
  const working = spawn(process.execPath, ["dist/worker.js"], { cwd: own.folder, stdio: "pipe" });
  let complaints = "";
  working.stderr.on("data", (text) => {
    complaints += text;
  });
  const workerEnds = once(working, "close");
  onTestFinished(() => void working.kill("SIGKILL"));
  await hears(working, /ready/);
  expect(await own.run(process.execPath, "dist/app.js")).toBe(
    `Hello, Ada!
Dear Ada, this was attempt 1.
InvalidArgument: name: must be at least 2 characters [string.min_len]
Internal: internal error
`,
  );
  working.kill("SIGTERM");
  expect(await workerEnds).toEqual([0, null]);
  const [complaint = ""] = complaints.split("\n");
  expect(JSON.parse(complaint)).toMatchObject({
    level: "error",
    method: "rpc greet.v1.GreetService.Hello",
    error: { message: "no greeting for this one", stack: expect.stringContaining("worker.js:") },
  });
}

describe("a repository of one's own", { timeout: 900_000 }, () => {
  test("generates packages with npm, and TypeScript 7 in it, and is at work", async () => {
    const { devDependencies } = JSON.parse(
      readFileSync(join(top, "packages/runtime/package.json"), "utf8"),
    );
    const own = new Repository(["gen/**"], {
      // Version 7 has no API for JavaScript.
      typescript: "7.0.2",
      "@jetrpc/cli": packages.get("@jetrpc/cli") ?? "",
      "@jetrpc/testing": packages.get("@jetrpc/testing") ?? "",
      "@bufbuild/protovalidate": devDependencies["@bufbuild/protovalidate"],
      "@connectrpc/validate": devDependencies["@connectrpc/validate"],
    });
    const install = () => own.run("npm", "install", "--no-audit", "--no-fund", "--prefer-offline");
    await install();
    await own.run("npx", "buf", "generate");
    await install();
    await own.run("npm", "run", "build", "--workspaces");
    expect(await own.run(process.execPath, "--input-type=module", "-e", program)).toBe(printed);
    const common = `console.log(require("@acme/greet-v1-client").GreetService.typeName)`;
    expect(await own.run(process.execPath, "--input-type=commonjs", "-e", common)).toBe(
      "greet.v1.GreetService\n",
    );
    await own.run("npx", "tsc", "--project", "gen/greet/v1");
    await workAndCall(own);

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
    const own = new Repository([], { typescript: "5.9.3" });
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
    own.write("app/app.ts", program);
    own.write("app/tsconfig.json", tsconfig);
    for (const again of [[], ["--force"]]) {
      await pnpm("exec", "buf", "generate");
      await pnpm("install", "--no-frozen-lockfile", ...again);
      await pnpm("--recursive", "run", "build");
      await pnpm("exec", "tsc", "--project", "app");
      expect(await own.run(process.execPath, "app/dist/app.js")).toBe(printed);
    }
    rmSync(own.folder, { recursive: true });
  });
});
