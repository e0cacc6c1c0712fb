import { readFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { defineConfig } from "tsup";

const exported = {
  index: "src/index.ts",
  caller: "src/caller.ts",
  node: "src/node.ts",
  operator: "src/operator.ts",
  schema: "src/schema.ts",
  "gen/jetrpc/v1/blob_pb": "src/gen/jetrpc/v1/blob_pb.ts",
  "gen/jetrpc/v1/options_pb": "src/gen/jetrpc/v1/options_pb.ts",
};

/**
 * Not exported. All that index.ts and caller.ts export lies in files of its own: some bundlers
 * take whole files, and what index.js itself imports, into the first thing that a page loads.
 */
const parts = Object.fromEntries(
  [
    ...["index", "caller"]
      .map((entry) => readFileSync(`src/${entry}.ts`, "utf8"))
      .join("\n")
      .matchAll(/^(?!export type).*from "\.\/(.+)\.js";$/gm),
  ].map(([, part]) => [part, `src/${part}.ts`]),
);

export default defineConfig({
  entry: {
    ...exported,
    ...parts,
  },
  format: ["esm", "cjs"],
  dts: { entry: exported },
  // One copy of every module, whichever entry point loads it.
  splitting: true,
  plugins: [
    {
      // A file that imports another one of ours for nothing but its effects, of which it has
      // none: bundlers of apps would load it at once. The line stays, for the source map.
      name: "no-bare-imports",
      renderChunk: (code) => ({ code: code.replace(/^import "\.{1,2}\/.+";$/gm, "") }),
    },
  ],
  // tsup takes what is optional into the bundle, unless it is told.
  external: [/^@nats-io\/transport-node/, "dotenv"],
  sourcemap: true,
  clean: true,
  // The .proto files of a service import these.
  async onSuccess() {
    await cp("../../proto/jetrpc", "dist/proto/jetrpc", { recursive: true });
  },
});
