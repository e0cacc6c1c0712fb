/**
 * The messages between the engine and its worker threads.
 *
 * @module
 */
import type { MessagePort } from "node:worker_threads";
import type { Code } from "@connectrpc/connect";

/** Pages first to last, both included, counted from 1; last 0 means the last page. */
export interface PageRange {
  readonly first: number;
  readonly last: number;
}

/** A document to work on. */
export interface Source {
  /**
   * The PDF file, in a buffer of its own: it moves to the thread and back, so
   * that an idle thread, which collects no garbage, holds no document.
   */
  readonly document: Uint8Array<ArrayBuffer>;
  /** Empty for none. */
  readonly password: string;
}

/** The documents of a job, at least one. */
export type Sources = readonly [Source, ...Source[]];

/** A kind of work; all but "merge" with the first source. */
export type Work =
  | { readonly kind: "info" }
  | { readonly kind: "text"; readonly pages: readonly PageRange[] }
  | {
      readonly kind: "render";
      readonly pages: readonly PageRange[];
      readonly dpi: number;
      /** Of a picture in all. */
      readonly maxPixels: number;
      /** Pixels that the image format allows on each side. */
      readonly maxSide: number;
    }
  | { readonly kind: "split"; readonly ranges: readonly PageRange[]; readonly maxBytes: number }
  | { readonly kind: "merge"; readonly maxBytes: number };

/** The result of each kind of work: one item, or one for each page or range. */
export interface ItemOf {
  info: PdfInfo;
  text: PageText;
  render: Bitmap;
  split: Uint8Array<ArrayBuffer>;
  merge: Uint8Array<ArrayBuffer>;
}

/** The properties of a document. */
export interface PdfInfo {
  pageCount: number;
  /** In points, of which 72 make an inch. */
  pages: PageSize[];
  title: string;
  author: string;
  subject: string;
  keywords: string;
  creator: string;
  producer: string;
  /** True when the document is encrypted, even if it opens without a password. */
  encrypted: boolean;
  /** As the file says it: "1.7"; empty when it says nothing. */
  pdfVersion: string;
}

/** A page's width and height in points. */
export interface PageSize {
  width: number;
  height: number;
}

/** The text of a page, counted from 1. */
export interface PageText {
  page: number;
  text: string;
}

/** The pixels of a page: 3 bytes each, red, green and blue. */
export interface Bitmap {
  page: number;
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
}

/** A job that a thread is given. */
export interface Job {
  readonly sources: Sources;
  readonly work: Work;
  /** How many of the first items are not wanted. */
  readonly skip: number;
  /** How many items may wait for their consumer. */
  readonly window: number;
  readonly port: MessagePort;
  /** Shared between the engine and the thread: see {@link Control}. */
  readonly control: Int32Array;
}

/** The cells of {@link Job.control}. */
export const Control = {
  /** Changes with every word of the engine to the thread, so that the thread can wait for one. */
  signal: 0,
  /** A {@link Command}. */
  command: 1,
  /** How many items the consumer took. */
  taken: 2,
  /** Counts what the thread began: when it stands still, the thread hangs. */
  step: 3,
  /** 1 while the thread waits for the consumer. */
  waiting: 4,
  /** The page that the thread is at; 0 when it is at none. */
  page: 5,
  /** Never changes: a thread that must do nothing more waits for it. */
  never: 6,
  length: 7,
} as const;

/** The engine tells this to a thread at work. */
export const Command = {
  run: 0,
  /** Give the thread to another call; the rest is asked for again. */
  pause: 1,
  /** Nobody wants the rest. */
  stop: 2,
} as const;

/** A message of a thread. The last message is an "end". */
export type ThreadMessage =
  | { readonly type: "open"; readonly total: number }
  | { readonly type: "item"; readonly item: ItemOf[keyof ItemOf] }
  | { readonly type: "end"; readonly end: ThreadEnd };

/** How a thread ended its job. */
export interface ThreadEnd {
  /** True when it was told to pause and more is to be done. */
  readonly isPaused: boolean;
  /** Why it failed. */
  readonly failure?: Failure;
  /** The thread is of no more use: it waits to be terminated. */
  readonly dispose: boolean;
  /** The documents of the job. */
  readonly sources: Sources;
}

/** The buffers of documents, to move them. */
export function buffersOf(sources: Sources): ArrayBuffer[] {
  return sources.map(({ document }) => document.buffer);
}

/** An error as it crosses threads. */
export interface Failure {
  readonly code: CodeName;
  readonly message: string;
}

/** Name of a Connect code: a thread need not load Connect for it. */
export type CodeName = keyof typeof Code;
