import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Reads a setting that is a whole number. Undefined when it is not set or empty. Throws
 * InvalidArgument for anything that is no whole number above 0.
 */
export function readWholeNumber(
  environment: NodeJS.ProcessEnv,
  variable: string,
): number | undefined {
  const text = environment[variable];
  if (text === undefined || text === "") {
    return undefined;
  }
  const value = Number(text);
  if (!(Number.isSafeInteger(value) && value > 0)) {
    throw new ConnectError(
      `${variable} is "${text}": it must be a whole number above 0`,
      Code.InvalidArgument,
    );
  }
  return value;
}
