import { Code } from "@connectrpc/connect";
import { causedError } from "../message/caused-error.js";

/**
 * Loads a package that an install may leave out. Throws FailedPrecondition when it did.
 */
export async function loadOptional<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw causedError(
      `connect() needs the package ${name}, which cannot be loaded: install it (npm install ${name}); an install with --omit=optional leaves it out`,
      Code.FailedPrecondition,
      cause,
    );
  }
}
