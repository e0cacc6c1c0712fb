/** Methods of the service that are durable. */
export type MethodName = "Work" | "Rank" | "Share" | "Try" | "Count" | "Convert";

/** How a call may end. */
export type Outcome = "succeeded" | "failed" | "cancelled" | "expired";

/** Names a call. */
export interface CallName {
  readonly method: string;
  readonly callId: string;
}

/** The end that a call must have. */
export interface Expected {
  readonly method: MethodName;
  /** The content of its response: a value, how many messages, or the digest of a file. */
  readonly result: number | string;
  /** The ends that are right. One that has used up its attempts may fail besides. */
  readonly ends: readonly Outcome[];
  /** Bytes of metadata that come with its result, in the header and in the trailer. */
  readonly metadataBytes?: number;
  /** True when no log shows its whole result: it has to be read. */
  readonly isObject?: boolean;
}

/** A call that a client knows to be accepted. */
export type Accepted = Expected & CallName;

/** A conversion that is submitted under a given call id: another process can go on with it. */
export interface Upload {
  readonly callId: string;
  readonly kind: number;
  readonly milliseconds: number;
  /** Of what the file holds. */
  readonly seed: number;
  /** Of the file, in bytes. */
  readonly size: number;
}

/** The memory of a process, in bytes. */
export interface MemorySample {
  readonly pid: number;
  /** How long it has lived, in ms. */
  readonly ageMs: number;
  readonly rss: number;
  readonly heap: number;
}

/** An event of a client or worker process: a line of its journal. */
export type Said =
  /** It is connected, and works. */
  | { readonly ready: true }
  | { readonly accepted: Accepted }
  /** It has read the whole result. */
  | { readonly read: CallName }
  | { readonly wrong: string; readonly call: CallName }
  /** A file that it uploads from now on, or has uploaded. */
  | { readonly uploads: Upload; readonly isDone: boolean }
  /** A handler has begun. */
  | { readonly began: CallName; readonly attempt: number }
  /** More handlers run at once than may. */
  | { readonly crowded: string }
  | { readonly memory: MemorySample };
