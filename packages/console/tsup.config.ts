import { defineConfig } from "tsup";

export default defineConfig({
  entry: { index: "src/index.ts" },
  format: ["esm", "cjs"],
  dts: true,
  // CommonJS has no import.meta, by which the page and the version are found.
  shims: true,
  splitting: true,
  sourcemap: true,
  clean: true,
});
