import { isTransient } from "../link/until.js";

/** Entries that failed while the others were gone on with: one bad one must not keep the rest. */
export class PassedOver {
  private first: { readonly error: unknown } | undefined;

  /** Remembers a failure. Throws it when the others would fail as well: the server is silent. */
  add(error: unknown): void {
    if (isTransient(error)) {
      throw error;
    }
    this.first ??= { error };
  }

  /** Throws the first failure, once all others are done. */
  tell(): void {
    if (this.first) {
      throw this.first.error;
    }
  }
}
