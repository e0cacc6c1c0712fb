import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    main: "src/main.ts",
    process: "src/process.ts",
    blob: "src/blob.ts",
    "blob-process": "src/blob-process.ts",
    backlog: "src/backlog.ts",
    attach: "src/attach.ts",
    "load-process": "src/load-process.ts",
  },
  format: ["esm"],
  splitting: true,
  sourcemap: true,
  clean: true,
});
