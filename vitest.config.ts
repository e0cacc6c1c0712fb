import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Tests that run with users who may do what their role needs, and no more. */
const secured = [
  `packages/runtime/test/{${[
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
    "message-size",
    "metadata",
    "operator",
    "protocol",
    "recovery",
    "serve",
    "stream",
    "timeouts",
    "waiting",
  ].join()}}.test.ts`,
  "test/pdf.test.ts",
];

/** Tests of `npm run test:long`: they install packages, set machines up, attack, or wait for what heals. */
const long = [
  "packages/bench/test/**/*.test.ts",
  "packages/chaos/test/{chaos,crowd,fuzz}.test.ts",
  "packages/cli/test/{cluster,docs}.test.ts",
  "packages/codec/test/publics.test.ts",
  "packages/protoc-gen-jetrpc/test/{hostile,publics}.test.ts",
  `packages/runtime/test/{${["attempts", "concurrency", "edges", "forgotten", "healing", "large-direct"].join()}}.test.ts`,
  "packages/testing/test/find-nats-server.test.ts",
  "services/image/test/{memory,models}.test.ts",
  "services/pdf/test/{isolation,memory}.test.ts",
  `test/{${[
    "backup",
    "big-documents",
    "cluster",
    "examples",
    "first-hour",
    "infrastructure",
    "install",
    "lag",
    "readme",
    "setup-clean-root",
    "setup-script",
  ].join()}}.test.ts`,
];

export default defineConfig({
  test: {
    // Servers, workers and compilers are started: two cores take their time, and most
    // tests wait for something.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    maxWorkers: 4,
    expect: { poll: { timeout: 120_000 } },
    setupFiles: join(import.meta.dirname, "test/patient-requests.ts"),
    projects: [
      {
        extends: true,
        test: {
          name: "open",
          // Files of a process share what they import: to load it takes longer than most tests.
          isolate: false,
          include: [
            "packages/*/test/**/*.test.ts",
            "services/*/test/**/*.test.ts",
            "test/**/*.test.ts",
          ],
          exclude: [...secured, ...long],
        },
      },
      {
        extends: true,
        test: {
          name: "least-privilege",
          isolate: false,
          include: secured,
          // With 0 they run without users.
          env: { JETRPC_TEST_SECURED: process.env["JETRPC_TEST_SECURED"] ?? "1" },
        },
      },
      { extends: true, test: { name: "long", include: long } },
    ],
  },
});
