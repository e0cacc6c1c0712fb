import { execFile } from "node:child_process";

/** Options of {@link runCommand}. */
export interface RunCommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** After so many ms the command is killed. */
  readonly timeoutMs: number;
}

/**
 * Runs a command to its end and returns what it wrote to its standard output.
 * Rejects with an Error that says in one line why it failed, in the command's
 * own words where it gave any.
 */
export function runCommand(
  command: string,
  args: readonly string[],
  options: RunCommandOptions,
): Promise<string> {
  const { timeoutMs, env, ...rest } = options;
  return new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      { ...rest, env: { ...env, LC_ALL: "C" }, timeout: timeoutMs, killSignal: "SIGKILL" },
      (error, stdout, stderr) => {
        if (error) {
          reject(new Error(failure(command, error, stderr, timeoutMs), { cause: error }));
        } else {
          resolve(stdout);
        }
      },
    );
  });
}

type ExecError = Error & {
  code?: string | number | null;
  killed?: boolean;
  signal?: string | null;
};

function failure(command: string, error: ExecError, stderr: string, timeoutMs: number): string {
  if (error.code === "ENOENT") {
    return `${command} is not installed`;
  }
  if (error.killed) {
    return `${command} did not end within ${timeoutMs / 1000} s`;
  }
  const end =
    typeof error.code === "number" ? `exit code ${error.code}` : (error.signal ?? error.code);
  const lines = stderr.split("\n").map((line) => line.trim());
  // Where apt-get complains, its first complaint says most.
  const complaint = lines.find((line) => /^[EW]: /.test(line));
  const text =
    complaint ??
    lines
      .filter((line) => line !== "")
      .slice(-3)
      .join(" ");
  return `${command} failed (${end})${text && `: ${text}`}`;
}
