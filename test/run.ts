import { execFile } from "node:child_process";

/** How a command ended. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; one that fails is no error here. */
export function run(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  return new Promise((resolve) => {
    execFile(
      command,
      args,
      { env: { PATH: process.env["PATH"], ...env }, timeout: 120_000 },
      (error, stdout, stderr) => {
        const code = typeof error?.code === "number" ? error.code : error ? -1 : 0;
        resolve({ code, stdout, stderr: error && code === -1 ? `${stderr}${error}` : stderr });
      },
    );
  });
}
