// `npm run generate`: what comes of the .proto files. The generator needs the
// runtime, and the runtime its own generated messages: so those come first.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const top = fileURLToPath(new URL("..", import.meta.url));

function run(command, ...args) {
  execFileSync(command, args, { cwd: top, stdio: "inherit", env: withBinaries() });
}

/** Finds buf and its plugins as npm does, also when not run by npm. */
function withBinaries() {
  return { ...process.env, PATH: `${top}/node_modules/.bin:${process.env.PATH}` };
}

try {
  run("buf", "generate", "--template", "packages/runtime/buf.gen.yaml");
  run("buf", "generate", "--template", "packages/runtime/test/buf.gen.yaml");
  run("buf", "generate", "--template", "packages/gateway/buf.gen.yaml");
  run("buf", "generate", "--template", "packages/web/buf.gen.yaml");
  run("buf", "generate", "--template", "packages/console/buf.gen.yaml");
  run("buf", "generate", "--template", "packages/bench/buf.gen.yaml");
  run("buf", "generate", "--template", "packages/chaos/buf.gen.yaml");
  run("node", "scripts/build.mjs", "@jetrpc/protoc-gen-jetrpc");
  run("buf", "generate");
  run("buf", "generate", "--template", "examples/buf.gen.yaml");
} catch (error) {
  // The command that failed has said why.
  process.exitCode = error.status ?? 1;
}
