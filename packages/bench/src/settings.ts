/** The command line is wrong: what to do instead is printed after it. */
export class UsageError extends Error {}

/** Reads a whole number above 0. Throws {@link UsageError}. */
export function readNumber(name: string, text: string): number {
  const value = Number(text);
  if (!(Number.isSafeInteger(value) && value > 0)) {
    throw new UsageError(`--${name} must be a whole number above 0, and is "${text}"`);
  }
  return value;
}

/** Reads several, with commas between. */
export function readNumbers(name: string, text: string): number[] {
  return text.split(",").map((each) => readNumber(name, each));
}

/** Does what a command line asks for, or says why not, and sets the exit code. */
export async function runCommand(usage: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    // parseArgs() has codes of its own for what it does not know.
    const isUsage =
      error instanceof UsageError ||
      `${(error as { code?: unknown })?.code}`.startsWith("ERR_PARSE_ARGS");
    console.error(isUsage ? `${text}\n\n${usage}` : text);
    process.exitCode = isUsage ? 2 : 1;
  }
}
