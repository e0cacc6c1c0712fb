import { join } from "node:path";
import { defineConfig } from "vite";

/** The page, into dist/page. No source maps: its sources are in the repository. */
export default defineConfig({
  root: join(import.meta.dirname, "page"),
  base: "/",
  build: {
    outDir: "../dist/page",
    emptyOutDir: true,
    // The policy of the page allows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    // What is bundled has licenses that ask to be kept.
    license: { fileName: "LICENSES.md" },
  },
});
