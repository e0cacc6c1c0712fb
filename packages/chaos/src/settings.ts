import { parseArgs } from "node:util";
import { UsageError } from "./run-command.js";

export const usage = `npm run chaos -- [options]

  --seconds N   how long everything is attacked (default 60)
  --seed S      repeats the same attack (default: a new one)
  --rate N      calls that are made in a second, besides some rare ones (default 1000)
  --calls N     ends the attack when so many calls are accepted
  --nodes 1|3   one nats-server, or a cluster of three (default 1)
  --faults RE   only the faults whose names this regular expression matches
  --kinds RE    only the kinds of calls whose names it matches: those of kinds.ts,
                conversion (with Blobs) and direct
  --json FILE   writes the verdict to FILE
  --help        tells this`;

/** The settings of an attack. */
export interface Settings {
  readonly seconds: number;
  readonly seed: number;
  readonly calls: number;
  /** Calls that clients make in a second, all together. */
  readonly rate: number;
  readonly nodes: 1 | 3;
  readonly faults: RegExp;
  readonly kinds: RegExp;
  readonly json: string | undefined;
}

/** Reads the command line. Throws {@link UsageError}, and the errors of parseArgs(). */
export function readSettings(args: string[]): Settings {
  const { values } = parse(args);
  const number = (name: "seconds" | "seed" | "calls" | "rate", otherwise: number) => {
    const value = values[name] === undefined ? otherwise : Number(values[name]);
    if (!Number.isInteger(value) || value < 1) {
      throw new UsageError(`--${name} ${values[name]} must be a whole number from 1`);
    }
    return value;
  };
  const nodes = values.nodes ?? "1";
  if (nodes !== "1" && nodes !== "3") {
    throw new UsageError(`--nodes ${nodes} must be 1 or 3`);
  }
  return {
    seconds: number("seconds", 60),
    seed: number("seed", 1 + Math.floor(Math.random() * 2 ** 31)),
    calls: number("calls", Number.MAX_SAFE_INTEGER),
    rate: number("rate", 1000),
    nodes: nodes === "1" ? 1 : 3,
    faults: readPattern("faults", values.faults),
    kinds: readPattern("kinds", values.kinds),
    json: values.json,
  };
}

function readPattern(name: string, pattern = ""): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw new UsageError(`--${name}: ${(error as Error).message}`);
  }
}

function parse(args: string[]) {
  const text = { type: "string" } as const;
  return parseArgs({
    args,
    options: {
      ...{ seconds: text, seed: text, rate: text, calls: text, nodes: text },
      ...{ faults: text, kinds: text, json: text },
    },
  });
}
