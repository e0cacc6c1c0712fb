import { dirname, join } from "node:path";
import { startNats } from "@jetrpc/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPackage } from "../src/build.js";
import { type Outcome, snippetsOf, Workspace } from "./workspace.js";

const workspace = new Workspace();
let generation: Outcome;
let files: Map<string, string>;

beforeAll(() => {
  workspace.copyProtos("hostile");
  generation = workspace.generate();
  expect(generation.status, generation.output).toBe(0);
  files = workspace.generated();
}, 180_000);
afterAll(() => workspace.remove());

describe("hostile protos", { timeout: 180_000 }, () => {
  test("are generated", () => {
    expect(generation).toEqual({ status: 0, output: "" });
  });

  test("give a package each, with a legal name of its own", () => {
    const names = [...files]
      .filter(([path]) => path.endsWith("/package.json"))
      .map(([path, text]) => [path, JSON.parse(text).name]);
    expect(names).toEqual([
      ["gen/_Caps_Under/V1/package.json", "@acme/caps_under-v1-client"],
      ["gen/a/b/c/package.json", "@acme/a-b-c-client"],
      ["gen/a/b/package.json", "@acme/a-b-client"],
      ["gen/a/package.json", "@acme/a-client"],
      ["gen/above/proto/v1/package.json", "@acme/above-proto-v1-client"],
      ["gen/casts/package.json", "@acme/casts-client"],
      ["gen/clash/package.json", "@acme/clash-client"],
      ["gen/comments/package.json", "@acme/comments-client"],
      ["gen/else/empty/package.json", "@acme/else-empty-client"],
      ["gen/else/where/package.json", "@acme/else-where-client"],
      ["gen/new/package.json", "@acme/new-client"],
      ["gen/newest/package.json", "@acme/newest-client"],
      ["gen/old/package.json", "@acme/old-client"],
      ["gen/package.json", "@acme/client"],
      ["gen/shop/package.json", "@acme/shop-client"],
      ["gen/shop/v1/package.json", "@acme/shop-v1-client"],
      ["gen/wkt/package.json", "@acme/wkt-client"],
      ["gen/words/package.json", "@acme/words-client"],
    ]);
  });

  test("are the same when generated again", () => {
    expect(workspace.generate()).toEqual({ status: 0, output: "" });
    expect(workspace.generated()).toEqual(files);
  });

  test("leave nothing of the machine and of the day in what is generated", () => {
    const text = [...files.values()].join("\n");
    expect(text).not.toContain(workspace.folder);
    expect(text).not.toContain(process.cwd());
    expect(text).not.toMatch(/\b20\d\d-\d\d-\d\d\b/);
    expect(text).not.toContain(String(new Date().getFullYear()));
  });

  test("have no service that takes another one's names", () => {
    const exported = (path: string) =>
      [...(files.get(path) ?? "").matchAll(/^export (?:interface|const|function) ([\w$]+)/gm)].map(
        ([, name]) => name,
      );
    const words = exported("gen/words/words_jetrpc.ts");
    // The message PdfClient has the name, and the service Pdf the better claim to the next.
    expect(words).toEqual(expect.arrayContaining(["Pdf$Client", "PdfServiceClient", "pdfClient"]));
    expect(new Set(words).size).toBe(words.length);
    // SecondClient is a message of the same package.
    expect(exported("gen/casts/second_jetrpc.ts")).toContain("Second$Client");
  });

  test("keep methods apart that differ by case or by underscores", () => {
    const [worker = ""] =
      /interface CasesWorker \{.*?\n\}/s.exec(files.get("gen/words/words_jetrpc.ts") ?? "") ?? [];
    const methods = [...worker.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name);
    expect(methods).toEqual(["getX", "getx", "get_x", "_x"]);
  });

  test("say what is deprecated", () => {
    const old = files.get("gen/old/old_jetrpc.ts") ?? "";
    expect(old).toMatch(/@deprecated\n \*\/\nexport interface OldWorker/);
    expect(old).toMatch(/@deprecated\n \*\/\nexport interface OldClient/);
    expect(old).toMatch(/@deprecated\n \*\/\nexport function createOldClient/);
    expect(old).toMatch(/@deprecated\n {3}\*\/\n {2}do\(/);
    expect(old).toMatch(/@deprecated\n {3}\*\/\n {2}readonly do:/);
  });

  test("type-check, and so do the snippets of their READMEs", () => {
    const sources = [...files.keys()].filter((path) => path.endsWith(".ts"));
    const snippets = snippetsOf(files);
    expect(snippets.size).toBeGreaterThan(60);
    for (const [path, text] of snippets) {
      workspace.write(path, text);
    }
    workspace.write("uses.ts", uses);
    workspace.write("clashes.ts", clashes);
    const checked = [...sources, ...snippets.keys(), "uses.ts", "clashes.ts"];
    expect(workspace.typeCheck(checked, workspace.packagePaths())).toEqual(succeeded);
  });

  test("build, and load as ES module and as CommonJS", () => {
    for (const [path, text] of files) {
      const { scripts } = path.endsWith("/package.json") ? JSON.parse(text) : {};
      if (scripts) {
        const [program, command, root] = scripts.build.split(" ");
        expect([program, command]).toEqual(["protoc-gen-jetrpc", "build"]);
        buildPackage(join(workspace.folder, dirname(path)), root);
      }
    }
    const types = {
      "@acme/words-client": ["./gen/words/dist/words/index.d.ts"],
      "@acme/clash-client": ["./gen/clash/dist/clash/index.d.cts"],
    };
    expect(workspace.typeCheck(["uses.ts", "clashes.ts"], types)).toEqual(succeeded);
    workspace.write("load.mjs", loader);
    const { status, output } = workspace.run("node", ["load.mjs"]);
    expect(status, output).toBe(0);
    const found = JSON.parse(output);
    for (const { esm, cjs } of Object.values<{ esm: string[]; cjs: string[] }>(found.exports)) {
      expect(cjs).toEqual(esm);
    }
    expect(found.exports.words.esm).toEqual(
      expect.arrayContaining([
        "Object$",
        "PromiseSchema",
        "createObjectClient",
        "createServiceClient",
      ]),
    );
    expect(found.exports.casts.esm).toEqual(
      expect.arrayContaining(["Promise", "Symbol", "createPromiseClient", "createArrayClient"]),
    );
    expect(found.exports["a/b/c"].esm).toEqual(
      expect.arrayContaining(["ASchema", "C", "createCClient"]),
    );
    for (const name of ["above/proto/v1", "shop", "shop/v1"]) {
      expect(found.exports[name].esm).toContain(
        `create${name === "above/proto/v1" ? "Above" : "Shop"}Client`,
      );
    }
    expect(found.exports.clash.esm).toEqual(
      expect.arrayContaining(["TableSchema$", "Outer_InnerSchema$", "OuterSchema$", "PdfSchema$"]),
    );
    expect(found.methods).toEqual(found.rpcs);
    expect(found.methods).toContain("hasOwnProperty");
  });

  test("are called, submitted and attached to over NATS", async () => {
    workspace.write("call.mjs", caller);
    const server = await startNats();
    try {
      const { status, output } = workspace.run("node", ["call.mjs"], ".", {
        NATS_URL: server.url,
      });
      expect(status, output).toBe(0);
      const answers = Object.entries<string>(JSON.parse(output));
      expect(answers).toHaveLength(25 + 2 * 23);
      for (const [call, answer] of answers) {
        expect(answer).toMatch(/[!?]$/);
        expect(answer.slice(0, -1)).toBe(call.split(" ").at(-1));
      }
    } finally {
      await server.stop();
    }
  });
});

/** What must hold of the types of the worst names. */
const uses = `
import type { DurableUnaryMethod } from "@jetrpc/runtime";
import type {
  ObjectClient, ObjectWorker, PdfServiceClient, PdfServiceWorker, Promise as Message, Request,
  RequestSchema, ResponseSchema,
} from "@acme/words-client";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<T extends true>(): T | undefined { return undefined; }

holds<Same<keyof ObjectWorker, keyof ObjectClient>>();
holds<Same<keyof PdfServiceWorker, keyof PdfServiceClient>>();
holds<Same<Parameters<ObjectWorker["new"]>[0], Request>>();
holds<Same<ObjectClient["new"], DurableUnaryMethod<typeof RequestSchema, typeof ResponseSchema>>>();
export const answer: (client: PdfServiceClient) => Promise<Message> = (client) => client.m4({});
export const worker: Pick<PdfServiceWorker, "m4"> = { m4: async (request: Message) => request };
`;

/** What must hold where two files of a package export the same name. */
const clashes = `
import { create } from "@bufbuild/protobuf";
import {
  file_clash_a_b, file_clash_a_b$, type Outer_Inner, type Outer_Inner$, Outer_InnerSchema, Outer_InnerSchema$,
  OuterSchema, OuterSchema$, type Table, type TableSchema, TableSchema$, TableSchemaSchema,
} from "@acme/clash-client";

export const files = [file_clash_a_b, file_clash_a_b$];
export const table: Table = create(TableSchema$, { id: 1 });
export const schema: TableSchema = create(TableSchemaSchema, { name: "x" });
export const nested: Outer_Inner = create(Outer_InnerSchema, { text: "x" });
export const joined: Outer_Inner$ = create(Outer_InnerSchema$, { flag: true });
export const outer = create(OuterSchema$, {});
export const value: OuterSchema = OuterSchema.UNSPECIFIED;
`;

const succeeded = { status: 0, output: "" };

const caller = `
import { connect, serve } from "@jetrpc/runtime/node";
import { Object$, createObjectClient } from "./gen/words/dist/words/index.js";

const connection = await connect();
const names = Object$.methods.filter((m) => m.methodKind === "unary").map((m) => m.localName);
const implementation = Object.fromEntries(
  names.map((name) => [name, ({ constructor$ }) => ({ default: name + constructor$ })]),
);
const worker = await serve(Object$, implementation, { connection });
const client = createObjectClient(connection);
const answers = {};
for (const name of names) {
  answers["of " + name] = (await client[name]({ constructor$: "!" })).default;
}
for (const name of names.filter((name) => client[name].submit)) {
  const call = await client[name].submit({ constructor$: "?" }, { callId: "1" });
  answers["submitted to " + name] = (await call.result()).default;
  answers["attached to " + name] = (await client[name].attach("1").result()).default;
}
console.log(JSON.stringify(answers));
await worker.drain();
await connection.close();
`;

const loader = `
import { createRequire } from "node:module";
import { bindService } from "@jetrpc/runtime/schema";

const require = createRequire(import.meta.url);
const found = { exports: {} };
for (const name of ["words", "newest", "casts", "a/b/c", "clash", "above/proto/v1", "shop", "shop/v1"]) {
  const esm = await import(\`./gen/\${name}/dist/\${name}/index.js\`);
  const cjs = require(\`./gen/\${name}/dist/\${name}/index.cjs\`);
  found.exports[name] = { esm: Object.keys(esm).sort(), cjs: Object.keys(cjs).sort() };
}
const { Object$ } = await import("./gen/words/dist/words/index.js");
found.methods = [...bindService(Object$).methods.keys()];
found.rpcs = Object$.methods.map((method) => method.localName);
console.log(JSON.stringify(found));
`;
