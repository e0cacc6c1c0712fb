import { Code } from "@connectrpc/connect";
import { causedError } from "./caused-error.js";

/** Code that is loaded when it is first needed: a page that never needs it never downloads it. */
export class LateCode<T> {
  /** The code, once it is there: then nobody has to wait for a promise. */
  loaded: T | undefined;
  private loading: Promise<T> | undefined;

  constructor(
    /** Follows "the code of". */
    private readonly name: string,
    private readonly load: () => Promise<T>,
  ) {}

  /**
   * Loads it, once. Throws Unavailable when it cannot be loaded; the next call tries again.
   * Chromium remembers the failure until the page is reloaded.
   */
  get(): Promise<T> {
    this.loading ??= this.load().then(
      (code) => {
        this.loaded = code;
        return code;
      },
      (cause) => {
        // A server of modules may be there again.
        this.loading = undefined;
        const text = `the code of ${this.name} cannot be loaded: look whether the app still lies where it was loaded from, and reload a page`;
        throw causedError(text, Code.Unavailable, cause);
      },
    );
    return this.loading;
  }
}
