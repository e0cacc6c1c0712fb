import { defineConfig } from "vite";

/**
 * The gateway of `npm run dev`: the page calls it by its own origin. As a string Vite would send it
 * another Host, and the gateway refuses pages of other hosts.
 */
const gateway = { target: "http://127.0.0.1:8080" };

export default defineConfig({
  root: "web",
  build: { outDir: "../dist/web", emptyOutDir: true },
  server: { proxy: { "^/[a-z0-9_.]+\\.[A-Z]\\w*/": gateway, "/blobs/": gateway } },
});
