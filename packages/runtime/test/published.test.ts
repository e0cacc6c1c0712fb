import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";
import { expect, test } from "vitest";

const dist = join(import.meta.dirname, "../dist");

test("the types of the package name nothing that is only inside", () => {
  const types = readdirSync(dist).filter((name) => /\.d\.c?ts$/.test(name));
  expect(types).toContain("index.d.ts");
  for (const name of types) {
    const text = readFileSync(join(dist, name), "utf8");
    expect(text.match(/\b(Link|Mux|Internals|PayloadStore)\b/g), name).toBeNull();
  }
});

test("a worker loads nothing of the client before its first call", async () => {
  const { metafile, outputFiles } = await build({
    stdin: {
      contents: `import { serve } from "@jetrpc/runtime/node"; globalThis.serve = serve;`,
      resolveDir: import.meta.dirname,
    },
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    external: [...builtinModules],
    metafile: true,
    write: false,
    outdir: dist,
    logLevel: "error",
  });
  const text = (path: string) => outputFiles?.find((file) => file.path.endsWith(path))?.text ?? "";
  const chunks = metafile?.outputs ?? {};
  const outputs = Object.entries(chunks);
  const reached = new Set(outputs.filter(([path]) => path.endsWith("stdin.js")).map(([p]) => p));
  for (const path of reached) {
    for (const { kind, path: next } of chunks[path]?.imports ?? []) {
      if (kind === "import-statement" && next in chunks) {
        reached.add(next);
      }
    }
  }
  // Of the client, and of the worker.
  const isClient = (path: string) => text(path).includes("DurableCalls = class");
  const isWorker = (path: string) => text(path).includes("DirectResponder = class");
  expect(outputs.filter(([path]) => isClient(path)).length).toBe(1);
  expect([...reached].filter(isClient)).toEqual([]);
  expect([...reached].filter(isWorker).length).toBe(1);
});
