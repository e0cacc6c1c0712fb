import { defineConfig } from "tsup";

export default defineConfig({
  entry: { main: "src/main.ts" },
  format: ["esm"],
  // It is for Linux and macOS only: the others do without `jetrpc server`.
  external: ["@jetrpc/testing"],
  sourcemap: true,
  clean: true,
});
