/**
 * What an engine and its child processes say to each other.
 *
 * @module
 */
import type { Failure } from "./image-error.js";

/** From the engine to the process. */
export type ToProcess =
  /** The first message: what the process is for. */
  | { readonly type: "start"; readonly setup: unknown; readonly maxMemoryBytes: number }
  | { readonly type: "job"; readonly work: unknown; readonly skip: number }
  /** The consumer took an item. */
  | { readonly type: "taken" }
  /** Nobody wants the rest of the job. */
  | { readonly type: "stop" };

/** From the process to the engine. */
export type FromProcess =
  /** The process takes jobs. */
  | { readonly type: "ready"; readonly about: unknown }
  /** The process cannot be what it is for; it ends. */
  | { readonly type: "unfit"; readonly failure: Failure }
  /** Work goes on: `isImage` while an image is opened, which decides how long that takes. */
  | { readonly type: "step"; readonly isImage: boolean }
  | { readonly type: "item"; readonly item: Item<unknown> }
  | {
      readonly type: "end";
      readonly failure?: Failure | undefined;
      readonly residentBytes: number;
    };

/** One of the items that a job gives. */
export interface Item<T> {
  readonly value: T;
  /** How many units of work are done with it, from 1, and how many there are. */
  readonly done: number;
  readonly total: number;
}

/** The signal by which a process ends itself when it has more memory than granted. */
export const outOfMemory = "SIGUSR2";
