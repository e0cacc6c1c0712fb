import { ConnectError } from "@connectrpc/connect";

/**
 * Runs the program of a worker process. When it fails, the process prints why and ends with
 * exit code 1. Where the environment has `exitWithStdin`, the process ends when its standard
 * input is closed: for a parent that wants its worker to end with it, however it goes.
 */
export async function runProcess(exitWithStdin: string, main: () => Promise<void>): Promise<void> {
  if (process.env[exitWithStdin]) {
    process.stdin.on("end", () => process.exit()).resume();
    (process.stdin as unknown as { unref?: () => void }).unref?.();
  }
  try {
    await main();
  } catch (error) {
    console.error(error instanceof ConnectError ? error.message : error);
    process.exitCode = 1;
  }
}
