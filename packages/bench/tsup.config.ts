import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    main: "src/main.ts",
    process: "src/process.ts",
    blob: "src/blob.ts",
    "blob-process": "src/blob-process.ts",
    "attach-process": "src/attach-process.ts",
    attach: "src/attach.ts",
    "load-process": "src/load-process.ts",
  },
  format: ["esm"],
  splitting: true,
  sourcemap: true,
  clean: true,
});
