import { setTimeout as delay } from "node:timers/promises";
import type { Fault } from "./faults/fault.js";
import type { Random } from "./random.js";

/** Does one harm after another, often several at once. */
export class Storm {
  /** How often each fault was. */
  readonly counts = new Map<string, number>();
  private readonly running = new Set<Promise<void>>();
  private areServersHarmed = false;

  constructor(
    private readonly random: Random,
    private readonly next: () => Fault,
    private readonly note: (line: string) => void,
    private readonly failed: (why: string) => void,
  ) {}

  /** Lasts so long, in ms, or until `isOver`; then waits until all harm is undone. */
  async rage(ms: number, isOver: () => boolean): Promise<void> {
    for (const end = Date.now() + ms; Date.now() < end && !isOver(); ) {
      this.begin(this.next());
      await delay(this.random.between(100, 1_200));
    }
    await Promise.all(this.running);
  }

  private begin(fault: Fault): void {
    const { name, needsServers = false } = fault;
    if (needsServers && this.areServersHarmed) {
      return;
    }
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    this.areServersHarmed ||= needsServers;
    this.note(`begins: ${name}`);
    const done = fault
      .run()
      .catch((error) => this.failed(`fault "${name}": ${error}`))
      .finally(() => {
        this.note(`ends: ${name}`);
        this.running.delete(done);
        this.areServersHarmed &&= !needsServers;
      });
    this.running.add(done);
  }
}
