import { defineConfig } from "tsup";

export default defineConfig({
  // The processes are what child processes run; the engines find them beside themselves.
  entry: ["src/index.ts", "src/main.ts", "src/pixel-process.ts", "src/model-process.ts"],
  format: ["esm"],
  dts: { entry: "src/index.ts" },
  splitting: true,
  sourcemap: true,
  clean: true,
});
