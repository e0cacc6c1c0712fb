import { blobOf, Code, ConnectError } from "@jetrpc/runtime";
import {
  type ConvertRequest,
  Fit as FitOption,
  type ImageWorker,
} from "@jetrpc-examples/image-v1-client";
import { checkRange, fromFormat, toFormat } from "./formats.js";
import type { PixelEngine } from "./pixel-engine.js";
import type { Conversion, Fit } from "./pixel-work.js";
import { checkBytes, readImage } from "./request-image.js";

/** A result with more bytes is a Blob. */
const mostInMessage = 4_000_000;

/** Pixels on a side that a request may ask for: more than any format has. */
const mostOnSide = 1_000_000;

/** The methods that need no model. */
export type PixelWorker = Pick<ImageWorker, "getInfo" | "thumbnail" | "convert">;

/** Serves the methods of ImageService that need no model. */
export function createPixelWorker(engine: PixelEngine, maxBytes: number): PixelWorker {
  return {
    async getInfo({ image, includeExif }, { signal }) {
      checkBytes(image.length, maxBytes);
      const info = await engine.info(image, includeExif, signal);
      return { ...info, format: fromFormat(info.format) };
    },

    async thumbnail({ image, size, format: wanted }, { signal }) {
      checkBytes(image.length, maxBytes);
      const format = toFormat(wanted, ["jpeg", "png", "webp", "avif"]) ?? "webp";
      const made = await engine.thumbnail(
        { image, size: checkRange("size", size || 256, 1, 2048), format },
        signal,
      );
      const { width, height } = made;
      return { image: made.image, width, height, format: fromFormat(format) };
    },

    async convert(request, context) {
      const conversion = toConversion(request);
      const image = await readImage(request, maxBytes);
      context.progress({ done: 0, total: 1 });
      const { image: made, ...result } = await engine.convert(image, conversion, context.signal);
      const format = fromFormat(result.format);
      return made.length > mostInMessage
        ? { ...result, format, file: blobOf(made, { contentType: `image/${result.format}` }) }
        : { ...result, format, image: made };
    },
  };
}

function toConversion(request: ConvertRequest): Conversion {
  const { width, height, crop, quality, ignoreOrientation, keepMetadata } = request;
  return {
    format: toFormat(request.format, ["jpeg", "png", "webp", "gif", "avif", "tiff"]),
    width: checkRange("width", width, 0, mostOnSide),
    height: checkRange("height", height, 0, mostOnSide),
    fit: toFit(request.fit),
    crop: crop && {
      left: checkRange("crop.left", crop.left, 0, mostOnSide),
      top: checkRange("crop.top", crop.top, 0, mostOnSide),
      width: checkRange("crop.width", crop.width, 1, mostOnSide),
      height: checkRange("crop.height", crop.height, 1, mostOnSide),
    },
    ignoreOrientation,
    keepMetadata,
    quality: checkRange("quality", quality || 80, 1, 100),
  };
}

function toFit(fit: FitOption): Fit {
  switch (fit) {
    case FitOption.UNSPECIFIED:
    case FitOption.INSIDE:
      return "inside";
    case FitOption.COVER:
      return "cover";
    case FitOption.CONTAIN:
      return "contain";
    case FitOption.FILL:
      return "fill";
    default:
      throw new ConnectError(
        `fit ${fit} is not known: take INSIDE, COVER, CONTAIN or FILL`,
        Code.InvalidArgument,
      );
  }
}
