/** Where a subject's server is to be found: what its start() gave its clients. */
type Address = string;

/** A subject of the measurements. */
export interface Subject {
  /** As the tables and the rows of `--json` name it. */
  readonly name: string;
  readonly suite: SuiteName;
  /** Loads what only this subject needs. */
  load(): Promise<Way>;
}

/** One way to call. Each side of it runs in a process of its own. */
export interface Way {
  /** Starts the serving side, and tells where it is. */
  serve(natsUrl: string): Promise<Address>;
  /** Starts the calling side; what it returns makes one call. */
  connect(natsUrl: string, address: Address): Promise<(payload: Uint8Array) => Promise<void>>;
}

/** The suites. */
export type SuiteName = "unary" | "durable" | "stream";

/** Messages of one call of the suite `stream`. */
export const streamMessages = 20_000;
