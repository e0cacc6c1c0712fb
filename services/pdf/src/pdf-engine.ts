import { availableParallelism } from "node:os";
import { Code, ConnectError, permanent } from "@jetrpc/runtime";
import { checkWholeNumbers, largestSides } from "@jetrpc-examples/service-kit";
import { encodeImage, type ImageFormat, type PageImage } from "./encode-image.js";
import type { PageRange, PageText, PdfInfo, Source, Work } from "./job.js";
import { mapOrdered } from "./map-ordered.js";
import { type Item, ThreadPool } from "./thread-pool.js";

/** Options of {@link PdfEngine.start}. */
export interface PdfEngineOptions {
  /** Worker threads. Default: as many as there are CPU cores. */
  threads?: number;
  /** Pixels that the picture of a page may have. Default: 64 million. */
  maxPixels?: number;
  /** Bytes that Split and Merge may give in all. Default: 256 MiB. */
  maxResultBytes?: number;
  /** How long a thread may take for one page, in ms. Default: 30 s. */
  pageTimeoutMs?: number;
  /** How long a call keeps a thread that others wait for, in ms. Default: 1 s. */
  sliceMs?: number;
  /** Bytes of memory that one document may take of a thread. Default: 1 GiB. */
  maxMemoryBytes?: number;
  /** A thread that took more bytes of memory is replaced after the call. Default: 128 MiB. */
  keepMemoryBytes?: number;
}

/** A document to work on. */
export interface PdfInput {
  /** The PDF file. */
  readonly document: Uint8Array;
  /** Opens an encrypted document: its user or its owner password. Default: none. */
  readonly password?: string;
}

/** Pages of a document. */
export interface PagesInput extends PdfInput {
  /** Which pages, in this order. Default: all. */
  readonly pages?: readonly PageRange[];
}

/** Pages of a document, and how to draw them. */
export interface RenderInput extends PagesInput {
  /** Dots per inch. Default: 150. */
  readonly dpi?: number;
  /** Default: "png". */
  readonly format?: ImageFormat;
  /** Quality of JPEG and WebP, 1 to 100. Default: 80. */
  readonly quality?: number;
}

/** Options of a call. */
export interface PdfCallOptions {
  /** Ends the call: its reason is thrown at once. */
  readonly signal?: AbortSignal;
  /** Called for each item that the call gives, with its number and how many there are. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Options of a call that gives page after page. */
export interface PdfStreamOptions extends PdfCallOptions {
  /** How many of the first pages are not wanted. Default: 0. */
  readonly skip?: number;
}

/** Pages of text that may wait for their consumer. */
const textWindow = 16;

/**
 * Works on PDF documents in worker threads; the event loop is never held up.
 * A document that crashes or hangs its thread ends its own call only.
 *
 * All calls throw a ConnectError:
 * - InvalidArgument for a corrupt document or what is no PDF, and for wrong options,
 * - FailedPrecondition for an encrypted document without a password,
 * - PermissionDenied for a wrong password,
 * - OutOfRange for a page that does not exist,
 * - ResourceExhausted for what takes more pixels, bytes, time or memory than granted,
 * - Unavailable when the engine is closed.
 *
 * All but the last are marked as permanent: another attempt would end alike.
 */
export class PdfEngine implements AsyncDisposable {
  private constructor(
    private readonly threads: ThreadPool,
    private readonly options: Required<PdfEngineOptions>,
  ) {}

  /** Starts the threads. */
  static async start(options: PdfEngineOptions = {}): Promise<PdfEngine> {
    const complete: Required<PdfEngineOptions> = {
      threads: availableParallelism(),
      maxPixels: 64_000_000,
      maxResultBytes: 256 * mebibyte,
      pageTimeoutMs: 30_000,
      sliceMs: 1000,
      maxMemoryBytes: 1024 * mebibyte,
      keepMemoryBytes: 128 * mebibyte,
      ...options,
    };
    checkWholeNumbers(complete);
    return new PdfEngine(await ThreadPool.start(complete), complete);
  }

  /** Ends the threads. Calls that still run fail with Unavailable. */
  async close(): Promise<void> {
    await this.threads.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Tells what a document is, without reading its pages. Goes before other calls. */
  async getInfo(input: PdfInput, options: PdfCallOptions = {}): Promise<PdfInfo> {
    const items = this.threads.run({ kind: "info" }, [toSource(input)], {
      ...withSignal(options),
      window: 1,
      isUrgent: true,
    });
    return this.collectOne(items, options);
  }

  /** Gives the text of each page, in the order asked for. */
  async *extractText(
    input: PagesInput,
    options: PdfStreamOptions = {},
  ): AsyncGenerator<PageText, void, undefined> {
    const work: Work = { kind: "text", pages: toRanges(input.pages) };
    const run = { ...withSignal(options), skip: options.skip ?? 0, window: textWindow };
    for await (const item of this.threads.run(work, [toSource(input)], run)) {
      options.onProgress?.(item.number, item.total);
      yield item.value;
    }
  }

  /** Draws each page, in the order asked for. */
  async *renderPages(
    input: RenderInput,
    options: PdfStreamOptions = {},
  ): AsyncGenerator<PageImage, void, undefined> {
    const { dpi, format, quality } = checkRenderInput(input);
    const { maxPixels, threads } = this.options;
    const work: Work = {
      kind: "render",
      pages: toRanges(input.pages),
      dpi,
      maxPixels,
      maxSide: largestSides[format],
    };
    const run = { ...withSignal(options), skip: options.skip ?? 0, window: 1 };
    const images = mapOrdered(
      this.threads.run(work, [toSource(input)], run),
      async ({ value, number, total }) => ({
        image: await encodeImage(value, format, quality),
        number,
        total,
      }),
      {
        concurrency: threads,
        room: maxPixels,
        cost: ({ value }) => value.width * value.height,
      },
    );
    for await (const { image, number, total } of images) {
      options.onProgress?.(number, total);
      yield image;
    }
  }

  /** Makes a document of each range of pages. The new documents are not encrypted. */
  async split(
    input: PdfInput & { readonly ranges: readonly PageRange[] },
    options: PdfCallOptions = {},
  ): Promise<Uint8Array[]> {
    if (input.ranges.length === 0) {
      throw invalid("no page ranges are given: give one for each new document");
    }
    const work: Work = {
      kind: "split",
      ranges: toRanges(input.ranges),
      maxBytes: this.options.maxResultBytes,
    };
    const run = { ...withSignal(options), window: 1 };
    return this.collect(this.threads.run(work, [toSource(input)], run), options);
  }

  /** Makes one document of many. It is not encrypted. */
  async merge(
    input: { readonly sources: readonly PdfInput[] },
    options: PdfCallOptions = {},
  ): Promise<Uint8Array> {
    const [first, ...others] = input.sources.map(toSource);
    if (!first) {
      throw invalid("no sources are given: give at least one document");
    }
    const work: Work = { kind: "merge", maxBytes: this.options.maxResultBytes };
    const run = { ...withSignal(options), window: 1 };
    return this.collectOne(this.threads.run(work, [first, ...others], run), options);
  }

  private async collectOne<T extends PdfInfo | Uint8Array>(
    items: AsyncIterable<Item<T>>,
    options: PdfCallOptions,
  ): Promise<T> {
    const [item] = await this.collect(items, options);
    if (item === undefined) {
      throw new ConnectError("the PDF thread gave no result", Code.Internal);
    }
    return item;
  }

  private async collect<T extends PdfInfo | Uint8Array>(
    items: AsyncIterable<Item<T>>,
    { onProgress }: PdfCallOptions,
  ): Promise<T[]> {
    const all: T[] = [];
    let bytes = 0;
    for await (const { value, number, total } of items) {
      bytes += value instanceof Uint8Array ? value.length : 0;
      if (bytes > this.options.maxResultBytes) {
        const limit = `${this.options.maxResultBytes} bytes, which is all that this worker grants`;
        throw permanent(
          new ConnectError(
            `the result has more than ${limit}: ask for fewer pages`,
            Code.ResourceExhausted,
          ),
        );
      }
      all.push(value);
      onProgress?.(number, total);
    }
    return all;
  }
}

const mebibyte = 1024 * 1024;

/** Copies a document into a buffer that can move to a thread. */
function toSource({ document, password = "" }: PdfInput): Source {
  return { document: new Uint8Array(document), password };
}

/** Plain objects: a message of protobuf does not go to another thread. */
function toRanges(ranges: readonly PageRange[] = []): PageRange[] {
  return ranges.map(({ first, last }) => ({ first, last }));
}

function withSignal({ signal }: PdfCallOptions): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}

function checkRenderInput({ dpi = 150, format = "png", quality = 80 }: RenderInput) {
  if (!(dpi > 0 && Number.isFinite(dpi))) {
    throw invalid(`dpi is ${dpi}: it must be above 0`);
  }
  if (!(quality >= 1 && quality <= 100)) {
    throw invalid(`quality is ${quality}: it must be 1 to 100`);
  }
  return { dpi, format, quality };
}

function invalid(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument);
}
