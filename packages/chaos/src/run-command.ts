/** Options that are not understood. */
export class UsageError extends Error {}

/** Runs a command with its arguments, or tells its usage; sets the exit code: 2 for a wrong use, 1 for other errors. */
export async function runCommand(
  usage: string,
  work: (args: string[]) => Promise<void>,
): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes("--help")) {
    console.log(usage);
    return;
  }
  try {
    await work(args);
  } catch (error) {
    // parseArgs() has codes of its own for what it does not know.
    const isUsage =
      error instanceof UsageError ||
      `${(error as { code?: unknown } | undefined)?.code}`.startsWith("ERR_PARSE_ARGS");
    console.error(isUsage ? `${(error as Error).message}\n\n${usage}` : error);
    process.exitCode = isUsage ? 2 : 1;
  }
}
