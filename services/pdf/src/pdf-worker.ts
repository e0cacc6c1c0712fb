import type { DurableHandlerContext } from "@jetrpc/runtime";
import {
  ImageFormat,
  type PdfWorker,
  type RenderPagesRequest,
} from "@jetrpc-examples/pdf-v1-client";
import type { ImageFormat as EngineFormat } from "./encode-image.js";
import type { PdfEngine, PdfStreamOptions } from "./pdf-engine.js";

/** Serves PdfService by a PDF engine. */
export function createPdfWorker(engine: PdfEngine): PdfWorker {
  return {
    async getInfo(request, { signal }) {
      return await engine.getInfo(request, { signal });
    },

    extractText(request, context) {
      return engine.extractText(request, streamOptions(context));
    },

    async *renderPages(request, context) {
      const input = {
        ...request,
        format: engineFormats[request.format] ?? "png",
        // 0 is what a caller sends who names none.
        dpi: request.dpi || defaults.dpi,
        quality: request.quality || defaults.quality,
      };
      const format = request.format || ImageFormat.PNG;
      for await (const image of engine.renderPages(input, streamOptions(context))) {
        yield { ...image, format };
      }
    },

    async split(request, context) {
      return { documents: await engine.split(request, callOptions(context)) };
    },

    async merge(request, context) {
      return { document: await engine.merge(request, callOptions(context)) };
    },
  };
}

const engineFormats: Partial<Record<RenderPagesRequest["format"], EngineFormat>> = {
  [ImageFormat.PNG]: "png",
  [ImageFormat.JPEG]: "jpeg",
  [ImageFormat.WEBP]: "webp",
};

const defaults = { dpi: 150, quality: 80 };

function callOptions(context: DurableHandlerContext) {
  return {
    signal: context.signal,
    onProgress: (done: number, total: number) => context.progress({ done, total }),
  };
}

/** Pages that an earlier attempt stored are not made again. */
function streamOptions(context: DurableHandlerContext): PdfStreamOptions {
  return { ...callOptions(context), skip: context.resumeFrom };
}
