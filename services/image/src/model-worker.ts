import { Code, ConnectError, type DurableHandlerContext } from "@jetrpc/runtime";
import type { ImageWorker } from "@jetrpc-examples/image-v1-client";
import { checkRange, fromFormat, toFormat } from "./formats.js";
import type { ModelEngine } from "./model-engine.js";
import { readImage } from "./request-image.js";

/** The methods that need a model. */
export type ModelWorker = Pick<ImageWorker, "readText" | "upscale">;

/** Serves the methods of ImageService that need a model. */
export function createModelWorker(engine: ModelEngine, maxBytes: number): ModelWorker {
  return {
    async *readText(request, context) {
      const image = await readImage(request, maxBytes);
      for await (const { value, device, done, total } of engine.readText(image, options(context))) {
        const { model, corners, ...line } = value;
        yield { ...line, corners: [...corners], model: { name: model, device } };
        context.progress({ done, total, message: "lines" });
      }
    },

    async *upscale(request, context) {
      const format = toFormat(request.format, ["jpeg", "png", "webp"]) ?? "png";
      const quality = checkRange("quality", request.quality || 90, 1, 100);
      const factor = toFactor(request.factor);
      const image = await readImage(request, maxBytes);
      const bands = engine.upscale(image, { factor, format, quality }, options(context));
      for await (const { value, device, done, total } of bands) {
        const { model, ...band } = value;
        yield { ...band, format: fromFormat(format), model: { name: model, device } };
        context.progress({ done, total, message: "tiles" });
      }
    },
  };
}

/** Items that an earlier attempt stored are not made again. */
function options({ signal, resumeFrom }: DurableHandlerContext) {
  return { signal, skip: resumeFrom };
}

function toFactor(factor: number): 2 | 4 {
  if (factor === 0 || factor === 2) {
    return 2;
  }
  if (factor === 4) {
    return 4;
  }
  throw new ConnectError(`factor is ${factor}: it must be 2 or 4`, Code.InvalidArgument);
}
