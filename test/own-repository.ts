import { type ChildProcess, execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** What tests of repositories that are not this one share. */
export const top = join(import.meta.dirname, "..");

/** Folder of what {@link packPackages} makes. */
export const tarballs = mkdtempSync(join(tmpdir(), "jetrpc-tarballs-"));

/** Packs all packages as they are published. Returns where each is, as package.json names it. */
export async function packPackages(): Promise<Map<string, string>> {
  const packages = new Map<string, string>();
  for (const folder of readdirSync(join(top, "packages"))) {
    const path = join(top, "packages", folder);
    const manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    if (!manifest.private) {
      const args = ["pack", "--json", "--pack-destination", tarballs];
      const [packed] = JSON.parse(await run("npm", args, path));
      packages.set(manifest.name, `file:${join(tarballs, packed.filename)}`);
    }
  }
  return packages;
}

/** Runs a command to its end, and resolves with what it prints. */
export async function run(command: string, args: string[], cwd: string): Promise<string> {
  // pnpm asks questions, unless this is CI.
  const env = { ...process.env, CI: "true" };
  return (await promisify(execFile)(command, args, { cwd, env })).stdout;
}

/** Resolves with what a process prints, once it is as it is looked for. */
export async function hears(child: ChildProcess, wanted: RegExp): Promise<string> {
  let heard = "";
  const stdout = child.stdout as NonNullable<ChildProcess["stdout"]>;
  for await (const chunk of stdout.iterator({ destroyOnReturn: false })) {
    heard += chunk;
    if (wanted.test(heard)) {
      stdout.resume();
      return heard;
    }
  }
  throw new Error(`it has ended, and said no more than: ${heard}`);
}
