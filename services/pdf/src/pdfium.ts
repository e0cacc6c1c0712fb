import { PDFiumModule } from "@hyzyla/pdfium";
import type { Bitmap, PageSize, PdfInfo } from "./job.js";
import { PdfError } from "./pdf-error.js";

/** The part of PDFium's C interface that is used: https://pdfium.googlesource.com/pdfium/+/refs/heads/main/public/ */
interface PdfiumModule {
  readonly HEAPU8: Uint8Array<ArrayBuffer>;
  readonly HEAP32: Int32Array;
  readonly HEAPF32: Float32Array;
  readonly wasmExports: {
    malloc(size: number): number;
    free(pointer: number): void;
    _emscripten_stack_restore(pointer: number): void;
    readonly __indirect_function_table: WebAssembly.Table;
  };
  _FPDF_InitLibrary(): void;
  _FPDF_GetLastError(): number;
  _FPDF_LoadMemDocument(data: number, size: number, password: number): number;
  _FPDF_CreateNewDocument(): number;
  _FPDF_CloseDocument(document: number): void;
  _FPDF_GetPageCount(document: number): number;
  _FPDF_GetPageSizeByIndexF(document: number, index: number, size: number): number;
  _FPDF_GetMetaText(document: number, tag: number, buffer: number, length: number): number;
  _FPDF_GetSecurityHandlerRevision(document: number): number;
  _FPDF_GetFileVersion(document: number, version: number): number;
  _FPDF_LoadPage(document: number, index: number): number;
  _FPDF_ClosePage(page: number): void;
  _FPDFText_LoadPage(page: number): number;
  _FPDFText_ClosePage(textPage: number): void;
  _FPDFText_CountChars(textPage: number): number;
  _FPDFText_GetText(textPage: number, start: number, count: number, buffer: number): number;
  _FPDFBitmap_CreateEx(
    width: number,
    height: number,
    format: number,
    buffer: number,
    stride: number,
  ): number;
  _FPDFBitmap_FillRect(
    bitmap: number,
    left: number,
    top: number,
    width: number,
    height: number,
    color: number,
  ): void;
  _FPDFBitmap_Destroy(bitmap: number): void;
  _FPDF_RenderPageBitmap(
    bitmap: number,
    page: number,
    x: number,
    y: number,
    width: number,
    height: number,
    rotate: number,
    flags: number,
  ): void;
  _FPDF_ImportPagesByIndex(
    target: number,
    source: number,
    indices: number,
    length: number,
    at: number,
  ): number;
  _FPDF_SaveAsCopy(document: number, fileWrite: number, flags: number): number;
}

/** Values of FPDF_GetLastError. */
const LoadError = { password: 4, security: 5 } as const;

const bitmapBgr = 2;
const bytesPerPixel = 3;
const renderAnnotations = 0x01;
const renderReverseByteOrder = 0x10;
const saveNoIncremental = 2;

/** So large that a recursion without end runs into the limit of JavaScript's stack first. */
const stackBytes = 16 * 1024 * 1024;
const guardWords = 1024;
const guardWord = 0x5afe57ac;

/**
 * PDFium in a WebAssembly memory of its own.
 *
 * An error other than a PdfError means that the memory is no longer sound:
 * drop the instance.
 */
export class Pdfium {
  private readonly documents = new Set<PdfiumDocument>();
  private readonly stackGuard: number;
  private refused = false;

  private constructor(readonly module: PdfiumModule) {
    this.stackGuard = this.growStack() >> 2;
    module._FPDF_InitLibrary();
  }

  /** Starts an instance whose memory grows to about `maxBytes` and no further. */
  static async load(compiled: WebAssembly.Module, maxBytes: number): Promise<Pdfium> {
    let pdfium: Pdfium | undefined;
    const instantiate = (
      imports: WebAssembly.Imports,
      done: (instance: WebAssembly.Instance) => void,
    ) => {
      const environment = imports["env"] as { emscripten_resize_heap(bytes: number): number };
      const resize = environment.emscripten_resize_heap;
      environment.emscripten_resize_heap = (bytes) => {
        if (bytes >>> 0 <= maxBytes) {
          return resize(bytes);
        }
        if (pdfium) {
          pdfium.refused = true;
        }
        return 0;
      };
      const instance = new WebAssembly.Instance(compiled, imports);
      done(instance);
      return instance.exports;
    };
    const options = {
      instantiateWasm: instantiate as never,
      // PDFium tells by an error that a document is bad.
      print: () => undefined,
      printErr: () => undefined,
    };
    pdfium = new Pdfium((await PDFiumModule(options)) as unknown as PdfiumModule);
    return pdfium;
  }

  /** Bytes of WebAssembly memory, which never shrinks. */
  get memoryBytes(): number {
    return this.module.HEAPU8.length;
  }

  /** True when the work on the open documents needed more memory than there may be. */
  get isOutOfMemory(): boolean {
    return this.refused;
  }

  /**
   * Opens a PDF file.
   *
   * Errors: InvalidArgument when it is no PDF or corrupt, FailedPrecondition
   * when it needs a password, PermissionDenied when the password is wrong,
   * ResourceExhausted when it does not fit into the memory.
   */
  open(file: Uint8Array, password: string): PdfiumDocument {
    if (file.length === 0) {
      throw new PdfError("InvalidArgument", "the document is empty: send a PDF file");
    }
    const data = this.allocate(file.length);
    this.module.HEAPU8.set(file, data);
    const secret = this.allocateString(password);
    const handle = this.module._FPDF_LoadMemDocument(data, file.length, password ? secret : 0);
    this.free(secret);
    if (handle === 0) {
      this.free(data);
      throw loadError(this.module._FPDF_GetLastError(), password, file);
    }
    return this.register(new PdfiumDocument(this, handle, data));
  }

  /** Makes a document without pages. */
  create(): PdfiumDocument {
    return this.register(new PdfiumDocument(this, this.module._FPDF_CreateNewDocument(), 0));
  }

  /**
   * Throws a RangeError when the work on the open documents ran over the end of
   * the stack, into what lies below it.
   */
  checkStack(): void {
    const guard = this.module.HEAP32.subarray(this.stackGuard, this.stackGuard + guardWords);
    if (guard.some((word) => word !== guardWord)) {
      throw new RangeError("stack overflow");
    }
  }

  /** Closes all documents. */
  reset(): void {
    for (const document of this.documents) {
      document.close();
    }
    this.refused = false;
  }

  /** Takes a document off the list of the open ones. */
  forget(document: PdfiumDocument): void {
    this.documents.delete(document);
  }

  allocate(bytes: number): number {
    const pointer = this.module.wasmExports.malloc(bytes);
    if (pointer === 0) {
      throw new PdfError(
        "ResourceExhausted",
        `the document needs ${megabytes(bytes)} MB of memory at once, which this worker does not grant`,
      );
    }
    return pointer;
  }

  allocateString(text: string): number {
    const bytes = new TextEncoder().encode(`${text}\0`);
    const pointer = this.allocate(bytes.length);
    this.module.HEAPU8.set(bytes, pointer);
    return pointer;
  }

  /** Reads UTF-16. */
  readText(pointer: number, bytes: number): string {
    return utf16.decode(this.module.HEAPU8.subarray(pointer, pointer + bytes));
  }

  free(pointer: number): void {
    this.module.wasmExports.free(pointer);
  }

  /**
   * Moves the stack to a larger place and tells where its guard is, the lowest
   * bytes of it. This build of PDFium has a stack of 64 KiB, with its own data
   * below: a document that is nested a little deep would overwrite that.
   */
  private growStack(): number {
    const start = this.allocate(stackBytes);
    const firstWord = start >> 2;
    this.module.HEAP32.fill(guardWord, firstWord, firstWord + guardWords);
    this.module.wasmExports._emscripten_stack_restore(start + stackBytes);
    return start;
  }

  private register(document: PdfiumDocument): PdfiumDocument {
    this.documents.add(document);
    return document;
  }
}

/** A document that is open in PDFium. Pages are counted from 1. */
export class PdfiumDocument {
  readonly pageCount: number;
  private readonly module: PdfiumModule;

  constructor(
    private readonly pdfium: Pdfium,
    private readonly handle: number,
    private readonly data: number,
  ) {
    this.module = pdfium.module;
    this.pageCount = this.module._FPDF_GetPageCount(handle);
  }

  close(): void {
    this.pdfium.forget(this);
    this.module._FPDF_CloseDocument(this.handle);
    this.pdfium.free(this.data);
  }

  info(): PdfInfo {
    const pages = Array.from({ length: this.pageCount }, (_, index) => this.pageSize(index + 1));
    return {
      pageCount: this.pageCount,
      pages,
      title: this.metaText("Title"),
      author: this.metaText("Author"),
      subject: this.metaText("Subject"),
      keywords: this.metaText("Keywords"),
      creator: this.metaText("Creator"),
      producer: this.metaText("Producer"),
      encrypted: this.module._FPDF_GetSecurityHandlerRevision(this.handle) !== -1,
      pdfVersion: this.version(),
    };
  }

  /** The size of a page in points, turned as the page is shown. Throws InvalidArgument when it cannot be read. */
  pageSize(page: number): PageSize {
    const size = this.pdfium.allocate(8);
    const isRead = this.module._FPDF_GetPageSizeByIndexF(this.handle, page - 1, size);
    const [width = 0, height = 0] = this.module.HEAPF32.subarray(size >> 2, (size >> 2) + 2);
    this.pdfium.free(size);
    if (!isRead) {
      throw corruptPage(page);
    }
    return { width, height };
  }

  /** The text of a page, its lines ended by CR LF. Throws InvalidArgument when it cannot be read. */
  text(page: number): string {
    return this.withPage(page, (handle) => {
      const textPage = this.module._FPDFText_LoadPage(handle);
      if (textPage === 0) {
        throw corruptPage(page);
      }
      const count = this.module._FPDFText_CountChars(textPage);
      const text = count > 0 ? this.readPageText(textPage, count) : "";
      this.module._FPDFText_ClosePage(textPage);
      return text;
    });
  }

  /** Draws a page on white. Throws InvalidArgument when it cannot be read. */
  render(page: number, width: number, height: number): Bitmap {
    return this.withPage(page, (handle) => {
      const stride = width * bytesPerPixel;
      const pixels = this.pdfium.allocate(stride * height);
      const bitmap = this.module._FPDFBitmap_CreateEx(width, height, bitmapBgr, pixels, stride);
      this.module._FPDFBitmap_FillRect(bitmap, 0, 0, width, height, 0xffffffff);
      const flags = renderAnnotations | renderReverseByteOrder;
      this.module._FPDF_RenderPageBitmap(bitmap, handle, 0, 0, width, height, 0, flags);
      const data = this.module.HEAPU8.slice(pixels, pixels + stride * height);
      this.module._FPDFBitmap_Destroy(bitmap);
      this.pdfium.free(pixels);
      return { page, width, height, data };
    });
  }

  /** Adds pages of another document at the end. Throws InvalidArgument when they cannot be read. */
  append(source: PdfiumDocument, first: number, last: number): void {
    const count = last - first + 1;
    const indices = this.pdfium.allocate(count * Int32Array.BYTES_PER_ELEMENT);
    const start = indices >> 2;
    for (let offset = 0; offset < count; offset++) {
      this.module.HEAP32[start + offset] = first - 1 + offset;
    }
    const at = this.module._FPDF_GetPageCount(this.handle);
    const isDone = this.module._FPDF_ImportPagesByIndex(
      this.handle,
      source.handle,
      indices,
      count,
      at,
    );
    this.pdfium.free(indices);
    if (!isDone) {
      throw new PdfError(
        "InvalidArgument",
        `pages ${first} to ${last} cannot be copied: the document is corrupt, repair it`,
      );
    }
  }

  /** The document as a PDF file. Throws ResourceExhausted when it has more than `maxBytes`. */
  save(maxBytes: number): Uint8Array<ArrayBuffer> {
    const blocks: Uint8Array[] = [];
    let size = 0;
    const write = (_fileWrite: number, data: number, length: number) => {
      size += length;
      if (size > maxBytes) {
        return 0;
      }
      blocks.push(this.module.HEAPU8.slice(data, data + length));
      return 1;
    };
    const isSaved = this.withWriter(write, (fileWrite) =>
      this.module._FPDF_SaveAsCopy(this.handle, fileWrite, saveNoIncremental),
    );
    if (size > maxBytes) {
      throw tooManyBytes(maxBytes);
    }
    if (!isSaved) {
      throw new PdfError("Internal", "the new document could not be written");
    }
    return concatenate(blocks, size);
  }

  /**
   * Lends PDFium a function to write with (FPDF_FILEWRITE). The function table
   * of this build cannot grow, so the function takes slot 0 for that time: the
   * null pointer, which is the only slot that no code of PDFium is in.
   */
  private withWriter<T>(write: WriteBlock, run: (fileWrite: number) => T): T {
    const table = this.module.wasmExports.__indirect_function_table;
    const fileWrite = this.pdfium.allocate(8);
    this.module.HEAP32.set([1, 0], fileWrite >> 2);
    table.set(0, toWasmFunction(write));
    const result = run(fileWrite);
    table.set(0, null);
    this.pdfium.free(fileWrite);
    return result;
  }

  private withPage<T>(page: number, use: (handle: number) => T): T {
    const handle = this.module._FPDF_LoadPage(this.handle, page - 1);
    if (handle === 0) {
      throw corruptPage(page);
    }
    let result: T;
    try {
      result = use(handle);
    } catch (error) {
      // After any other error nothing of PDFium may be called.
      if (error instanceof PdfError) {
        this.module._FPDF_ClosePage(handle);
      }
      throw error;
    }
    this.module._FPDF_ClosePage(handle);
    return result;
  }

  private readPageText(textPage: number, count: number): string {
    const buffer = this.pdfium.allocate((count + 1) * 2);
    const units = this.module._FPDFText_GetText(textPage, 0, count, buffer);
    // Without the terminating null.
    const text = this.pdfium.readText(buffer, Math.max(0, units - 1) * 2);
    this.pdfium.free(buffer);
    return text;
  }

  private metaText(tag: string): string {
    const name = this.pdfium.allocateString(tag);
    const bytes = this.module._FPDF_GetMetaText(this.handle, name, 0, 0);
    const buffer = this.pdfium.allocate(bytes + 2);
    this.module._FPDF_GetMetaText(this.handle, name, buffer, bytes);
    const text = this.pdfium.readText(buffer, Math.max(0, bytes - 2));
    this.pdfium.free(buffer);
    this.pdfium.free(name);
    return text;
  }

  private version(): string {
    const pointer = this.pdfium.allocate(4);
    const isRead = this.module._FPDF_GetFileVersion(this.handle, pointer);
    const version = this.module.HEAP32[pointer >> 2] ?? 0;
    this.pdfium.free(pointer);
    return isRead ? `${Math.floor(version / 10)}.${version % 10}` : "";
  }
}

const utf16 = new TextDecoder("utf-16le");

type WriteBlock = (fileWrite: number, data: number, length: number) => number;

/**
 * A module that imports the function "f" of module "m", of type
 * (i32, i32, i32) -> i32, and exports it as "f": what is exported is a
 * WebAssembly function, as a table wants it.
 */
const passThrough = new Uint8Array([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x08, 0x01, 0x60, 0x03, 0x7f, 0x7f, 0x7f, 0x01, 0x7f],
  ...[0x02, 0x07, 0x01, 0x01, 0x6d, 0x01, 0x66, 0x00, 0x00],
  ...[0x07, 0x05, 0x01, 0x01, 0x66, 0x00, 0x00],
]);

function toWasmFunction(write: WriteBlock): unknown {
  const module = new WebAssembly.Module(passThrough);
  return new WebAssembly.Instance(module, { m: { f: write } }).exports["f"];
}

function loadError(error: number, password: string, file: Uint8Array): PdfError {
  if (error === LoadError.password) {
    return password
      ? new PdfError(
          "PermissionDenied",
          "the password does not open the document: give its user or its owner password",
        )
      : new PdfError("FailedPrecondition", "the document is encrypted: give its password");
  }
  if (error === LoadError.security) {
    return new PdfError(
      "FailedPrecondition",
      "the document is encrypted in a way that is not supported: decrypt it first",
    );
  }
  // The header may stand behind other bytes.
  const start = new TextDecoder("latin1").decode(file.slice(0, 1024));
  return start.includes("%PDF-")
    ? new PdfError("InvalidArgument", "the document is corrupt: repair it or export it again")
    : new PdfError("InvalidArgument", "the document is not a PDF: send a PDF file");
}

function corruptPage(page: number): PdfError {
  return new PdfError(
    "InvalidArgument",
    `page ${page} cannot be read: the document is corrupt, repair it or export it again`,
  );
}

/** The error for a result that is larger than a worker grants. */
function tooManyBytes(maxBytes: number): PdfError {
  return new PdfError(
    "ResourceExhausted",
    `the result has more than ${megabytes(maxBytes)} MB: ask for fewer pages`,
  );
}

function megabytes(bytes: number): number {
  return Math.ceil(bytes / 1_000_000);
}

function concatenate(blocks: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const block of blocks) {
    whole.set(block, offset);
    offset += block.length;
  }
  return whole;
}
