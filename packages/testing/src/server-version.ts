import { runCommand } from "./run-command.js";

/** The oldest nats-server that has all that the runtime needs. */
export const oldestVersion = "2.12";

/**
 * Runs a nats-server for its version. Rejects when it cannot be run, is no
 * nats-server or is older than {@link oldestVersion}.
 */
export async function checkServerVersion(path: string): Promise<string> {
  const output = await runCommand(path, ["--version"], { env: process.env, timeoutMs: 10_000 });
  const [, version, major, minor] = /^nats-server: v((\d+)\.(\d+)\.\S+)/.exec(output) ?? [];
  if (version === undefined) {
    throw new Error(`${path} is no nats-server: it says ${JSON.stringify(output.slice(0, 80))}`);
  }
  const [oldestMajor = 0, oldestMinor = 0] = oldestVersion.split(".").map(Number);
  const age = Number(major) - oldestMajor || Number(minor) - oldestMinor;
  if (age < 0) {
    throw new Error(`${path} is nats-server ${version}, older than ${oldestVersion}`);
  }
  return version;
}
