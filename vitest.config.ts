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
    "bulk-acts",
    "call-story",
    "calls-list",
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
  "packages/cli/test/{check,cluster,dev,dev-trouble,docs,metrics}.test.ts",
  "packages/codec/test/publics.test.ts",
  "packages/console/test/many-calls.test.ts",
  "packages/gateway/test/{blob-memory,hostile,kills}.test.ts",
  "packages/protoc-gen-jetrpc/test/{hostile,publics}.test.ts",
  `packages/runtime/test/{${["accounts", "attempts", "bulk-replay", "concurrency", "edges", "forgotten", "healing", "large-direct", "large-response", "large-results"].join()}}.test.ts`,
  "packages/testing/test/find-nats-server.test.ts",
  "services/image/test/{memory,models}.test.ts",
  "services/pdf/test/{isolation,memory}.test.ts",
  `test/{${[
    "backup",
    "big-documents",
    "cluster",
    "console",
    "create",
    "dashboards",
    "demos",
    "examples",
    "first-hour",
    "image-workers",
    "infrastructure",
    "install",
    "lag",
    "monitoring",
    "monitoring-setup",
    "readme",
    "setup-clean-root",
    "setup-script",
    "web",
  ].join()}}.test.ts`,
];

/** The tests of @jetrpc/react, each with a DOM of its own. */
const react = "packages/react/test/**/*.test.{ts,tsx}";
const react18 = join(import.meta.dirname, "test/react-18/node_modules");

/** What is built is loaded by Node as it is: to transform it takes a second of each process. */
const server = { deps: { external: [/\/dist\/.*\.js$/] } };

export default defineConfig({
  test: {
    // Servers, workers and compilers are started: two cores take their time.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // Half of their time tests wait for something: three files at once keep a core busy.
    maxWorkers: 6,
    expect: { poll: { timeout: 120_000 } },
    // Node 20 has no WebSocket without it.
    execArgv: "WebSocket" in globalThis ? [] : ["--experimental-websocket"],
    setupFiles: join(import.meta.dirname, "test/patient-requests.ts"),
    projects: [
      {
        extends: true,
        test: {
          name: "open",
          // Files of a process share what they import: to load it takes longer than most tests.
          isolate: false,
          server,
          include: [
            "packages/*/test/**/*.test.ts",
            "services/*/test/**/*.test.ts",
            "test/**/*.test.ts",
          ],
          exclude: [...secured, ...long, react],
        },
      },
      {
        extends: true,
        test: {
          name: "least-privilege",
          isolate: false,
          server,
          include: secured,
          // With 0 they run without users.
          env: { JETRPC_TEST_SECURED: process.env["JETRPC_TEST_SECURED"] ?? "1" },
        },
      },
      { extends: true, test: { name: "react-19", environment: "happy-dom", include: [react] } },
      {
        extends: true,
        resolve: {
          alias: ["react", "react-dom", "@testing-library/react"].map((name) => ({
            find: new RegExp(`^${name}(?=/|$)`),
            replacement: join(react18, name),
          })),
        },
        test: {
          name: "react-18",
          environment: "happy-dom",
          include: [react],
          // The library of it is not ours, and is tested with one React.
          exclude: ["**/connect-query.test.tsx"],
          env: { JETRPC_TEST_REACT: "18" },
        },
      },
      { extends: true, test: { name: "long", server, include: long } },
    ],
  },
});
