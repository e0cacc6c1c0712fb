import { cp } from "node:fs/promises";
import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    node: "src/node.ts",
    operator: "src/operator.ts",
    schema: "src/schema.ts",
    "gen/jetrpc/v1/blob_pb": "src/gen/jetrpc/v1/blob_pb.ts",
    "gen/jetrpc/v1/options_pb": "src/gen/jetrpc/v1/options_pb.ts",
  },
  format: ["esm", "cjs"],
  dts: true,
  // One copy of every module, whichever entry point loads it.
  splitting: true,
  // tsup takes what is optional into the bundle, unless it is told.
  external: [/^@nats-io\/transport-node/, "dotenv"],
  sourcemap: true,
  clean: true,
  // What the .proto files of a service import.
  async onSuccess() {
    await cp("../../proto/jetrpc", "dist/proto/jetrpc", { recursive: true });
  },
});
