import { defineConfig } from "vitest/config";

/** Tests that run once more with users who may do what their role needs, and no more. */
const secured = [
  "blob",
  "blob-lifetime",
  "blob-recovery",
  "call-control",
  "crash",
  "direct",
  "discovery",
  "durable",
  "failures",
  "interceptors",
  "interop",
  "limits",
  "malformed",
  "metadata",
  "operator",
  "protocol",
  "recovery",
  "stream",
  "waiting",
];

export default defineConfig({
  test: {
    // Servers, workers and compilers are started: two cores take their time, and most
    // tests wait for something.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    maxWorkers: 3,
    projects: [
      {
        extends: true,
        test: {
          name: "open",
          include: [
            "packages/*/test/**/*.test.ts",
            "services/*/test/**/*.test.ts",
            "test/**/*.test.ts",
          ],
        },
      },
      {
        extends: true,
        test: {
          name: "least-privilege",
          include: [`packages/runtime/test/{${secured.join()}}.test.ts`, "test/pdf.test.ts"],
          env: { JETRPC_TEST_SECURED: "1" },
        },
      },
    ],
  },
});
