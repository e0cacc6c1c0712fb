import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    // Not exported: scripts/setup.mjs loads it without the runtime, which takes 200 ms.
    "find-nats-server": "src/find-nats-server.ts",
  },
  format: ["esm", "cjs"],
  dts: { entry: "src/index.ts" },
  splitting: true,
  sourcemap: true,
  clean: true,
});
