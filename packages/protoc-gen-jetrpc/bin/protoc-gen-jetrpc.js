#!/usr/bin/env node
import { runNodeJs } from "@bufbuild/protoplugin";

// `protoc-gen-jetrpc build <root>` is the build script of generated packages.
if (process.argv[2] === "build") {
  const { buildPackage } = await import("../dist/build.js");
  try {
    buildPackage(".", process.argv[3] ?? ".");
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
} else {
  const { plugin } = await import("../dist/plugin.js");
  runNodeJs(plugin);
}
