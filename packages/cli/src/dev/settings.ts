import { readEnvironment } from "@jetrpc/runtime/node";
import { type BufFiles, readBufFiles } from "./buf-files.js";
import { defaultUrl } from "./dev-server.js";
import { commandsOf, readScripts } from "./package-scripts.js";
import type { Command } from "./supervised.js";

/** What files of this folder say of what to run. */
export interface Settings {
  readonly commands: readonly Command[];
  /** Generates code. */
  readonly generate: string;
  readonly buf: BufFiles;
  /** Where the nats-server is. */
  readonly url: string;
}

/** Which settings stand where. */
const places: Readonly<Record<keyof Settings, string>> = {
  commands: "the scripts of package.json",
  generate: "the script generate of package.json",
  buf: "the folders in buf.yaml and buf.gen.yaml",
  url: "NATS_URL",
};

/** Reads the settings. What the command line gives is not looked for. Throws UsageError, InvalidArgument. */
export async function readSettings(given: {
  worker?: readonly string[];
  server?: string;
}): Promise<Settings> {
  const scripts = readScripts();
  return {
    commands: commandsOf(scripts, given.worker),
    generate: scripts["generate"] ?? "buf generate",
    buf: readBufFiles(),
    url: given.server ?? ((await readEnvironment())["NATS_URL"] || defaultUrl),
  };
}

/** Where the settings differ. */
export function differences(before: Settings, after: Settings): string[] {
  const keys = Object.keys(places) as (keyof Settings)[];
  return keys
    .filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]))
    .map((key) => places[key]);
}
