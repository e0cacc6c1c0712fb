import { ConnectError } from "@jetrpc/runtime";

/** Runs a demo. When it fails, the process prints why and ends with exit code 1. */
export async function runDemo(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    const isExpected =
      error instanceof ConnectError || (error as { code?: string }).code === "ENOENT";
    console.error(isExpected ? (error as Error).message : error);
    process.exitCode = 1;
  }
}
