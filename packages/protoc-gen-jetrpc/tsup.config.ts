import { defineConfig } from "tsup";

export default defineConfig({
  entry: { plugin: "src/plugin.ts", build: "src/build.ts" },
  format: ["esm"],
  sourcemap: true,
  clean: true,
});
