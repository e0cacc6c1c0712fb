/**
 * Runs in a worker thread: one job at a time, on one instance of PDFium.
 *
 * @module
 */
import { workerData } from "node:worker_threads";
import {
  buffersOf,
  Command,
  Control,
  type Failure,
  type ItemOf,
  type Job,
  type Source,
  type ThreadEnd,
  type ThreadMessage,
  type Work,
} from "./job.js";
import { PageSelection } from "./page-range.js";
import { PdfError } from "./pdf-error.js";
import { Pdfium, type PdfiumDocument } from "./pdfium.js";

/** The data that a thread is started with. */
export interface ThreadData {
  /** PDFium, compiled once for all threads. */
  readonly module: WebAssembly.Module;
  /** PDFium's memory grows to no more than this, in bytes. */
  readonly maxMemoryBytes: number;
  /** A thread whose memory grew beyond is replaced after the call, in bytes. */
  readonly keepMemoryBytes: number;
}

const { module, maxMemoryBytes, keepMemoryBytes } = workerData as ThreadData;
const pdfium = await Pdfium.load(module, maxMemoryBytes);

/** Does a job and says all there is to say on its port. Never throws. */
export default function run(job: Job): void {
  const end = perform(job);
  post(job, { type: "end", end });
  if (end.dispose) {
    // Nothing may run here any more: the engine ends the thread.
    Atomics.wait(job.control, Control.never, 0);
  }
}

function perform(job: Job): ThreadEnd {
  try {
    const end = produceOrFail(job);
    pdfium.reset();
    pdfium.checkStack();
    // After a pause the same document comes back soon, often to this thread.
    const dispose = !end.isPaused && pdfium.memoryBytes > keepMemoryBytes;
    return { ...end, dispose, sources: job.sources };
  } catch (error) {
    const failure = explainCrash(error);
    return { isPaused: false, failure, dispose: true, sources: job.sources };
  }
}

function produceOrFail(job: Job): Pick<ThreadEnd, "isPaused" | "failure"> {
  try {
    return { isPaused: produce(job) === "paused" };
  } catch (error) {
    if (error instanceof PdfError) {
      return { isPaused: false, failure: { code: error.code, message: error.message } };
    }
    throw error;
  }
}

function produce(job: Job): "done" | "paused" {
  beginStep(job);
  const { total, items } = start(job);
  pdfium.checkStack();
  post(job, { type: "open", total });
  let sent = 0;
  for (const item of items) {
    pdfium.checkStack();
    post(job, { type: "item", item });
    sent++;
    if (job.skip + sent === total) {
      break;
    }
    const command = awaitRoom(job, sent);
    if (command !== Command.run) {
      return command === Command.pause ? "paused" : "done";
    }
  }
  return "done";
}

/** The result of a job: items, each made when it is asked for. */
interface Items {
  /** How many there are, those that are skipped included. */
  readonly total: number;
  readonly items: Generator<ItemOf[keyof ItemOf], void>;
}

function start(job: Job): Items {
  const { work, skip } = job;
  if (work.kind === "merge") {
    return { total: 1, items: merge(job, work.maxBytes) };
  }
  const document = open(job.sources[0]);
  if (work.kind === "info") {
    return { total: 1, items: info(document) };
  }
  const selection = PageSelection.of(
    work.kind === "split" ? work.ranges : work.pages,
    document.pageCount,
  );
  if (work.kind === "split") {
    return { total: work.ranges.length, items: split(job, document, selection, work.maxBytes) };
  }
  if (work.kind === "text") {
    return { total: selection.length, items: text(job, document, selection) };
  }
  for (const page of new Set(selection.pages(skip))) {
    pixelSize(document, page, work);
  }
  return { total: selection.length, items: render(job, document, selection, work) };
}

function* info(document: PdfiumDocument): Items["items"] {
  yield document.info();
}

function* text(job: Job, document: PdfiumDocument, selection: PageSelection): Items["items"] {
  for (const page of selection.pages(job.skip)) {
    beginStep(job, page);
    yield { page, text: document.text(page) };
  }
}

function* render(
  job: Job,
  document: PdfiumDocument,
  selection: PageSelection,
  work: RenderWork,
): Items["items"] {
  for (const page of selection.pages(job.skip)) {
    beginStep(job, page);
    const { width, height } = pixelSize(document, page, work);
    yield document.render(page, width, height);
  }
}

function* split(
  job: Job,
  document: PdfiumDocument,
  selection: PageSelection,
  maxBytes: number,
): Items["items"] {
  for (const { first, last } of selection.parts(job.skip)) {
    beginStep(job);
    const part = pdfium.create();
    part.append(document, first, last);
    yield part.save(maxBytes);
    part.close();
  }
}

function* merge(job: Job, maxBytes: number): Items["items"] {
  const whole = pdfium.create();
  for (const [index, source] of job.sources.entries()) {
    beginStep(job);
    try {
      const part = open(source);
      whole.append(part, 1, part.pageCount);
      part.close();
    } catch (error) {
      if (error instanceof PdfError) {
        const which = `source ${index + 1} of ${job.sources.length}`;
        throw new PdfError(error.code, `${which}: ${error.message}`);
      }
      throw error;
    }
  }
  yield whole.save(maxBytes);
}

function open({ document: file, password }: Source): PdfiumDocument {
  const document = pdfium.open(file, password);
  if (document.pageCount === 0) {
    throw new PdfError(
      "InvalidArgument",
      "the document has no pages: repair it or export it again",
    );
  }
  return document;
}

type RenderWork = Extract<Work, { kind: "render" }>;

/** Width and height of a page's picture. Throws ResourceExhausted when they are too large. */
function pixelSize(
  document: PdfiumDocument,
  page: number,
  { dpi, maxPixels, maxSide }: RenderWork,
) {
  const size = document.pageSize(page);
  const width = Math.max(1, Math.round((size.width * dpi) / pointsPerInch));
  const height = Math.max(1, Math.round((size.height * dpi) / pointsPerInch));
  if (width * height > maxPixels || Math.max(width, height) > maxSide) {
    const limit =
      width * height > maxPixels
        ? `${maxPixels} pixels in all`
        : `${maxSide} pixels on each side in this image format`;
    throw new PdfError(
      "ResourceExhausted",
      `page ${page} would have ${width} x ${height} pixels at ${dpi} dpi, more than ${limit}: lower the dpi`,
    );
  }
  return { width, height };
}

const pointsPerInch = 72;

/** Waits until the consumer has room for an item more, or wants none, and tells which. */
function awaitRoom({ control, window }: Job, sent: number): number {
  for (;;) {
    const signal = Atomics.load(control, Control.signal);
    const command = Atomics.load(control, Control.command);
    if (command !== Command.run || sent - Atomics.load(control, Control.taken) < window) {
      return command;
    }
    Atomics.store(control, Control.waiting, 1);
    Atomics.wait(control, Control.signal, signal);
    Atomics.store(control, Control.waiting, 0);
  }
}

/** Shows the engine that the thread goes on, and where it is. */
function beginStep({ control }: Job, page = 0): void {
  Atomics.store(control, Control.page, page);
  Atomics.add(control, Control.step, 1);
}

/** Says something to the engine. Bytes move and are not copied. */
function post({ port }: Job, message: ThreadMessage): void {
  port.postMessage(message, transferable(message));
}

function transferable(message: ThreadMessage): ArrayBuffer[] {
  switch (message.type) {
    case "open":
      return [];
    case "item": {
      const { item } = message;
      const bytes = item instanceof Uint8Array ? item : "data" in item ? item.data : undefined;
      return bytes ? [bytes.buffer] : [];
    }
    case "end":
      return buffersOf(message.end.sources);
  }
}

function explainCrash(error: unknown): Failure {
  if (pdfium.isOutOfMemory) {
    return {
      code: "ResourceExhausted",
      message: `the document needs more than ${Math.round(maxMemoryBytes / 1_000_000)} MB of memory, which this worker does not grant`,
    };
  }
  // A trap, or a stack that overflowed, in WebAssembly: whatever is wrong with
  // PDFium, it is this document that brings it out, here as on any other worker.
  const isTrap = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
  return isTrap
    ? {
        code: "InvalidArgument",
        message: `the document crashed the PDF parser (${error.message}): repair it or export it again`,
      }
    : { code: "Internal", message: `the PDF thread failed: ${String(error)}` };
}
