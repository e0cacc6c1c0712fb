import { defineConfig } from "tsup";

export default defineConfig({
  // pdf-thread is what the worker threads run; the engine finds it beside itself.
  entry: ["src/index.ts", "src/main.ts", "src/pdf-thread.ts"],
  format: ["esm"],
  dts: { entry: "src/index.ts" },
  splitting: true,
  sourcemap: true,
  clean: true,
});
