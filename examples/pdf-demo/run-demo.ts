import { ConnectError } from "@jetrpc/runtime";

/** Runs a demo. When it fails, the process prints why and ends with exit code 1. */
export async function runDemo(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    // A file that cannot be read or written has a system call in its error.
    const isExpected =
      error instanceof ConnectError || (error as NodeJS.ErrnoException).syscall !== undefined;
    console.error(isExpected ? (error as Error).message : error);
    process.exitCode = 1;
  }
}
