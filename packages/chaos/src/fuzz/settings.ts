import { parseArgs } from "node:util";
import { UsageError } from "../run-command.js";

export const usage = `npm run fuzz -- [options]

  --messages N    how many malformed messages are sent (default 1000000)
  --seconds N     stops sending after so long
  --seed S        repeats the same messages (default: new ones)
  --from N        begins with this message
  --only N,N,...  sends these messages alone
  --no-shrink     does not look for the messages that a failure needs
  --help          tells this`;

/** The settings of a run. */
export interface Settings {
  readonly seed: number;
  /** Index of the first message. */
  readonly from: number;
  /** Index after that of the last message. */
  readonly to: number;
  readonly seconds: number;
  readonly only: readonly number[] | undefined;
  readonly shrinks: boolean;
}

/** Reads the command line. Throws {@link UsageError}, and the errors of parseArgs(). */
export function readSettings(args: string[]): Settings {
  const { values } = parse(args);
  const from = whole("from", values.from, 0);
  return {
    seed: whole("seed", values.seed, 1 + Math.floor(Math.random() * 2 ** 31)),
    from,
    to: from + whole("messages", values.messages, 1_000_000),
    seconds: whole("seconds", values.seconds, Number.POSITIVE_INFINITY),
    only: values.only?.split(",").map((text) => whole("only", text, 0)),
    shrinks: !values["no-shrink"],
  };
}

function whole(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (text !== undefined && !(Number.isSafeInteger(value) && value >= 0)) {
    throw new UsageError(`--${name} ${text} must be a whole number`);
  }
  return value;
}

function parse(args: string[]) {
  const text = { type: "string" } as const;
  return parseArgs({
    args,
    options: {
      messages: text,
      seconds: text,
      seed: text,
      from: text,
      only: text,
      "no-shrink": { type: "boolean" },
    },
  });
}
