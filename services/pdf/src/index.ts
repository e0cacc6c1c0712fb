/**
 * A PDF engine in worker threads, and the PDF service on top of it.
 *
 * @module
 */
export type { ImageFormat, PageImage } from "./encode-image.js";
export type { PageRange, PageSize, PageText, PdfInfo } from "./job.js";
export {
  type PagesInput,
  type PdfCallOptions,
  PdfEngine,
  type PdfEngineOptions,
  type PdfInput,
  type PdfStreamOptions,
  type RenderInput,
} from "./pdf-engine.js";
export { createPdfWorker } from "./pdf-worker.js";
