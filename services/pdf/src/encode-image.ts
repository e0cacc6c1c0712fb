import { Code, ConnectError } from "@jetrpc/runtime";
import sharp from "sharp";
import type { Bitmap } from "./job.js";

/** How a picture is encoded. */
export type ImageFormat = "png" | "jpeg" | "webp";

/** The picture of a page. */
export interface PageImage {
  /** Number of the page, from 1. */
  page: number;
  /** The picture file. */
  image: Uint8Array;
  format: ImageFormat;
  /** Pixels. */
  width: number;
  height: number;
}

// Each picture is another one, and they are encoded side by side.
sharp.cache(false);
sharp.concurrency(1);

/**
 * Encodes a picture outside of the main thread. `quality` is of JPEG and WebP,
 * 1 to 100. Throws Internal when it cannot be encoded.
 */
export async function encodeImage(
  { page, width, height, data }: Bitmap,
  format: ImageFormat,
  quality: number,
): Promise<PageImage> {
  const raw = { width, height, channels: 3 } as const;
  const picture = sharp(data, { raw, limitInputPixels: false });
  switch (format) {
    case "png":
      picture.png();
      break;
    case "jpeg":
      picture.jpeg({ quality });
      break;
    case "webp":
      // Half the time of the default effort, for 2 % more bytes.
      picture.webp({ quality, effort: 2 });
      break;
  }
  try {
    return { page, image: await picture.toBuffer(), format, width, height };
  } catch (cause) {
    const text = `page ${page} could not be encoded as ${format}`;
    throw new ConnectError(text, Code.Internal, undefined, undefined, cause);
  }
}
