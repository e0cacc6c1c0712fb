import { defineConfig } from "tsup";

export default defineConfig({
  entry: { plugin: "src/plugin.ts" },
  format: ["esm"],
  sourcemap: true,
  clean: true,
});
