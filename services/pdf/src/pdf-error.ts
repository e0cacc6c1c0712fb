import type { CodeName } from "./job.js";

/**
 * Tells what is wrong with a document or with what is asked of it. Thrown in a
 * thread, whose state is sound after it; anything else that is thrown there
 * is a crash.
 */
export class PdfError extends Error {
  override readonly name = "PdfError";

  constructor(
    readonly code: CodeName,
    message: string,
  ) {
    super(message);
  }
}
