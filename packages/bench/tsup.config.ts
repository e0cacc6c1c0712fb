import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    main: "src/main.ts",
    process: "src/process.ts",
    blob: "src/blob.ts",
    "blob-process": "src/blob-process.ts",
    "attach-process": "src/attach-process.ts",
    attach: "src/attach.ts",
    calls: "src/calls.ts",
    "batch-process": "src/batch-process.ts",
    "load-process": "src/load-process.ts",
    "gateway-process": "src/gateway-process.ts",
    "gateway-memory": "src/gateway-memory.ts",
    "gateway-blob": "src/gateway-blob.ts",
    "gateway-blob-client": "src/gateway-blob-client.ts",
    "gateway-blob-worker": "src/gateway-blob-worker.ts",
    "hop-process": "src/hop-process.ts",
    "followers-process": "src/followers-process.ts",
  },
  format: ["esm"],
  splitting: true,
  sourcemap: true,
  clean: true,
});
