import { Code, ConnectError, type DurableHandlerContext } from "@jetrpc/runtime";
import { ImageFormat, type PdfWorker } from "@jetrpc-examples/pdf-v1-client";
import type { ImageFormat as EngineFormat } from "./encode-image.js";
import type { PdfEngine, PdfStreamOptions, RenderInput } from "./pdf-engine.js";

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
      const { document, password, pages, dpi, quality } = request;
      const format = request.format || ImageFormat.PNG;
      const input: RenderInput = {
        document,
        password,
        pages,
        format: toEngineFormat(format),
        // 0 is what a caller sends who names none.
        ...(dpi !== 0 && { dpi }),
        ...(quality !== 0 && { quality }),
      };
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

function toEngineFormat(format: ImageFormat): EngineFormat {
  switch (format) {
    case ImageFormat.PNG:
      return "png";
    case ImageFormat.JPEG:
      return "jpeg";
    case ImageFormat.WEBP:
      return "webp";
    default:
      throw new ConnectError(
        `image format ${format} is not known: take PNG, JPEG or WEBP`,
        Code.InvalidArgument,
      );
  }
}

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
