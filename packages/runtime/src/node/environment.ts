import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Code, type ConnectError } from "@connectrpc/connect";
import { causedError } from "../message/caused-error.js";
import { loadOptional } from "./optional-package.js";

/**
 * The settings of a connection, by the names of their environment variables:
 *
 * - `NATS_URL`: one or more servers, separated by commas. Default: `nats://127.0.0.1:4222`.
 * - `NATS_TOKEN`, or `NATS_USER` and `NATS_PASSWORD`, or `NATS_NKEY_SEED`, or
 *   `NATS_CREDS` (path of a .creds file): who connects.
 * - `NATS_TLS_CA`, `NATS_TLS_CERT`, `NATS_TLS_KEY`: paths of PEM files.
 * - `NATS_INBOX_PREFIX`: see `inboxPrefix` of `ConnectionOptions`.
 * - `JETRPC_OWNER`: see `owner` of `ConnectionOptions`.
 * - `JETRPC_DOMAIN`: see `domain` of `ConnectionOptions`.
 */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The process's environment, and below it what a `.env` file in the working
 * folder says. Throws InvalidArgument when there is such a file, but it cannot
 * be read, or a line with one of our variables is no assignment.
 */
export async function readEnvironment(): Promise<Environment> {
  return { ...(await readDotenv(resolve(".env"))), ...process.env };
}

async function readDotenv(path: string): Promise<Environment> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") {
      return {};
    }
    throw invalid(`${path} cannot be read: make it a text file in UTF-8, or remove it`, cause);
  }
  const { parse } = await loadOptional("dotenv", () => import("dotenv"));
  const values = parse(text);
  for (const [index, line] of text.split("\n").entries()) {
    const name = /^\s*(?:export\s+)?((?:NATS|JETRPC)_\w+)/.exec(line)?.[1];
    // dotenv skips what it does not understand. The line may hold a secret: it is not shown.
    if (name && (values[name] === undefined || /^["'`]/.test(values[name]))) {
      throw invalid(
        `${path}, line ${index + 1}: write ${name}=value, and close the quotes if there are any`,
      );
    }
  }
  return values;
}

/** Reads the file that a variable names. Throws InvalidArgument when it cannot. */
export function readNamed(variable: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw invalid(`${variable} names ${path}, which cannot be read`, cause);
  }
}

/** The error of a wrong setting. */
export function invalid(message: string, cause?: unknown): ConnectError {
  return causedError(message, Code.InvalidArgument, cause);
}
