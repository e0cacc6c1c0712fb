import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    node: "src/node.ts",
    "gen/jetrpc/v1/options_pb": "src/gen/jetrpc/v1/options_pb.ts",
  },
  format: ["esm", "cjs"],
  dts: true,
  // One copy of every module, whichever entry point loads it.
  splitting: true,
  sourcemap: true,
  clean: true,
});
