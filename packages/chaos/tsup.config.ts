import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    main: "src/main.ts",
    worker: "src/worker.ts",
    client: "src/client.ts",
    fuzz: "src/fuzz/main.ts",
    "fuzz-worker": "src/fuzz/worker.ts",
    "fuzz-client": "src/fuzz/client.ts",
  },
  format: ["esm"],
  splitting: true,
  sourcemap: true,
  clean: true,
});
