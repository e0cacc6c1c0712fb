import type { ServiceBinding } from "@jetrpc/runtime/schema";
import type { Journal } from "./journal.js";

/** Counts the handlers of each method that run at once in this process. */
export class Crowd {
  private readonly running = new Map<string, number>();
  private readonly limits: ReadonlyMap<string, number>;

  constructor(
    { methods }: ServiceBinding,
    private readonly journal: Journal,
  ) {
    this.limits = new Map([...methods.values()].map((each) => [each.desc.name, each.concurrency]));
  }

  /**
   * A handler runs until what is returned is called, or until its signal fires: from
   * then on it does nothing that counts.
   */
  enter(method: string, signal: AbortSignal): () => void {
    const limit = this.limits.get(method) ?? 0;
    const count = (this.running.get(method) ?? 0) + 1;
    this.running.set(method, count);
    if (limit > 0 && count > limit) {
      this.journal.say({ crowded: `${method}: ${count} handlers run at once, of ${limit}` });
    }
    let hasLeft = false;
    const leave = () => {
      if (!hasLeft) {
        hasLeft = true;
        this.running.set(method, (this.running.get(method) ?? 1) - 1);
      }
    };
    if (signal.aborted) {
      leave();
    }
    signal.addEventListener("abort", leave, { once: true });
    return leave;
  }
}
