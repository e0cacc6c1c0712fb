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
  check(value, `${variable} is "${text}"`);
  return value;
}

/** Throws InvalidArgument for an option that is no whole number above 0. */
export function checkWholeNumbers(options: object): void {
  for (const [name, value] of Object.entries(options)) {
    check(value, `option ${name} is ${value}`);
  }
}

function check(value: number, found: string): void {
  if (!(Number.isSafeInteger(value) && value > 0)) {
    throw new ConnectError(`${found}: it must be a whole number above 0`, Code.InvalidArgument);
  }
}
