import type { Code } from "@connectrpc/connect";

/** Name of a Connect code: a child process need not load Connect for it. */
export type CodeName = keyof typeof Code;

/** An error as it crosses processes. */
export interface Failure {
  readonly code: CodeName;
  readonly message: string;
}

/**
 * What is wrong with an image or with what is asked of it. Thrown in a child process,
 * which is sound after it.
 */
export class ImageError extends Error implements Failure {
  override readonly name = "ImageError";

  constructor(
    readonly code: CodeName,
    message: string,
  ) {
    super(message);
  }
}

/** What an error of a native library says, without its details. */
export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n")[0]?.trim() || "no reason given";
}
