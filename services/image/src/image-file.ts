import { largestSides } from "@jetrpc-examples/service-kit";
import sharp, { type Metadata, type Sharp } from "sharp";
import { firstLine, ImageError } from "./image-error.js";

/** How an image is encoded. */
export type Format = "jpeg" | "png" | "webp" | "gif" | "avif" | "tiff";

/** What a worker grants an image. */
export interface Limits {
  /** Pixels of all frames that are decoded, and of what is made of them. */
  readonly maxPixels: number;
  readonly maxFrames: number;
}

/** An image whose header was read. */
export interface OpenImage {
  readonly metadata: Metadata;
  readonly format: Format;
  /** Pixels of a frame, as they lie in the file. */
  readonly width: number;
  readonly height: number;
  /** Frames of an animated image, pages of a TIFF. */
  readonly frames: number;
}

// Formats beyond these have too large readers: SVG runs filters and reads other files.
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({
  operation: ["Jpeg", "Png", "Webp", "Nsgif", "Heif", "Tiff"].map(
    (name) => `VipsForeignLoad${name}`,
  ),
});
// Each image is another one, and a process works on one of them.
sharp.cache(false);
sharp.concurrency(1);

/** How files of other formats begin, for the error that names them. */
const otherFormats: [string, RegExp][] = [
  ["an SVG", /^(?:ï»¿)?\s*(?:<\?xml|<!DOCTYPE svg|<!--|<svg)/i],
  ["a PDF", /^%PDF/],
  ["a BMP", /^BM/],
  ["a HEIC image", /^....ftyp(?:heic|heix|mif1|hevc)/s],
  ["a JPEG XL", /^....JXL /s],
  ["a JPEG 2000", /^....jP /s],
];

/** Reads the header of an image. Throws InvalidArgument when it is none that is read. */
export async function openImage(image: Uint8Array): Promise<OpenImage> {
  if (image.length === 0) {
    throw new ImageError("InvalidArgument", "the image is empty: send an image file");
  }
  let metadata: Metadata;
  try {
    metadata = await sharp(image, { limitInputPixels: false }).metadata();
  } catch (error) {
    throw explainRefusal(image, error);
  }
  const { format, width, height, pages, compression } = metadata;
  const name = format === "heif" && compression === "av1" ? "avif" : format;
  if (!isFormat(name) || !(width > 0) || !(height > 0)) {
    throw explainRefusal(image, undefined);
  }
  return { metadata, format: name, width, height, frames: Math.max(1, pages ?? 1) };
}

/** An image to work on: of its first frame or of all. Throws ResourceExhausted above a limit. */
export function decode(
  image: Uint8Array,
  { width, height, frames }: OpenImage,
  { maxPixels, maxFrames }: Limits,
  isAnimated = false,
): Sharp {
  const decoded = isAnimated ? frames : 1;
  if (decoded > maxFrames) {
    throw new ImageError(
      "ResourceExhausted",
      `the image has ${frames} frames, and this worker grants ${maxFrames}: send fewer, or ask for a format that is not animated`,
    );
  }
  checkPixels(width * height * decoded, maxPixels, "the image has");
  return sharp(image, { limitInputPixels: false, animated: isAnimated, sequentialRead: true });
}

/** Throws ResourceExhausted for too many pixels. */
export function checkPixels(pixels: number, maxPixels: number, what: string): void {
  if (pixels > maxPixels) {
    throw new ImageError(
      "ResourceExhausted",
      `${what} ${pixels.toLocaleString("en")} pixels, and this worker grants ${maxPixels.toLocaleString("en")}: make it smaller`,
    );
  }
}

/** Throws ResourceExhausted for a side that a format does not have. */
export function checkSides(width: number, height: number, format: Format): void {
  const most = largestSides[format];
  if (Math.max(width, height) > most) {
    throw new ImageError(
      "ResourceExhausted",
      `the result would have ${width} x ${height} pixels, and a ${format} has ${most} on each side at most: make it smaller, or take another format`,
    );
  }
}

/** Turns what libvips says of the pixels of an image into an ImageError. */
export function damaged(error: unknown): ImageError {
  return error instanceof ImageError
    ? error
    : new ImageError("InvalidArgument", `the image is damaged: ${firstLine(error)}`);
}

/** Width and height of an image when it is turned as EXIF says. */
export function uprightSize({ metadata, width, height }: OpenImage): readonly [number, number] {
  return (metadata.orientation ?? 1) >= 5 ? [height, width] : [width, height];
}

function explainRefusal(image: Uint8Array, error: unknown): ImageError {
  const start = Buffer.from(image.subarray(0, 256)).toString("latin1");
  const [other] = otherFormats.find(([, pattern]) => pattern.test(start)) ?? [];
  return new ImageError(
    "InvalidArgument",
    other
      ? `the image is ${other}, which is not read: send a JPEG, PNG, WebP, GIF, AVIF or TIFF`
      : `the image cannot be read${error ? ` (${firstLine(error)})` : ""}: send a JPEG, PNG, WebP, GIF, AVIF or TIFF that is whole`,
  );
}

function isFormat(name: string): name is Format {
  return ["jpeg", "png", "webp", "gif", "avif", "tiff"].includes(name);
}
