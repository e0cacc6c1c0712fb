/** How often a process tells how it is, in ms. */
const intervalMs = 500;

/** A report of a process to the fuzzer. */
export interface Told {
  /** It serves or calls now. */
  readonly isReady?: boolean;
  /** It calls no more. */
  readonly isQuiet?: boolean;
  /** Its memory, in bytes. */
  readonly rss?: number;
  /** Calls that it made, and what became of them. */
  readonly outcomes?: Readonly<Record<string, number>>;
  /** The fault, if there is one. */
  readonly wrong?: string;
}

/** Tells the fuzzer now and then how this process is, and ends it when the fuzzer is gone. */
export function reportHealth(more: () => Told): void {
  process.on("disconnect", () => process.exit());
  // The NATS client says there that it reads no more, when a callback or its parser throws:
  // the process is alive then, and deaf.
  console.log = console.error;
  setInterval(() => {
    process.send?.({ rss: process.memoryUsage.rss(), ...more() });
  }, intervalMs).unref();
}
