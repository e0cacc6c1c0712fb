/**
 * What can be done with the pixels of an image, without a model.
 *
 * @module
 */
import type { Sharp } from "sharp";
import type { JobContext } from "./child-process.js";
import { ImageError } from "./image-error.js";
import {
  checkPixels,
  checkSides,
  damaged,
  decode,
  type Format,
  type Limits,
  type OpenImage,
  openImage,
  uprightSize,
} from "./image-file.js";

/** How an image is made to fit into a width and a height. */
export type Fit = "inside" | "cover" | "contain" | "fill";

/** A part of an image, in pixels. */
interface Part {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** How an image is converted. */
export interface Conversion {
  /** Undefined for the format of the image. */
  readonly format?: Format | undefined;
  /** Pixels; 0 for what follows from the other one. */
  readonly width: number;
  readonly height: number;
  readonly fit: Fit;
  readonly crop?: Part | undefined;
  readonly ignoreOrientation: boolean;
  readonly keepMetadata: boolean;
  /** 1 to 100. */
  readonly quality: number;
}

/** What to do. */
export type PixelWork =
  | { readonly kind: "info"; readonly image: Uint8Array; readonly includeExif: boolean }
  | {
      readonly kind: "thumbnail";
      readonly image: Uint8Array;
      readonly size: number;
      readonly format: Format;
    }
  | { readonly kind: "convert"; readonly image: Uint8Array; readonly conversion: Conversion };

/** What each kind of work gives. */
export interface ResultOf {
  info: ImageInfo;
  thumbnail: Picture;
  convert: Picture;
}

/** What an image is. */
export interface ImageInfo {
  format: Format;
  width: number;
  height: number;
  orientation: number;
  frames: number;
  colorSpace: string;
  profile: string;
  density: number;
  hasAlpha: boolean;
  bitDepth: number;
  exif: Uint8Array;
}

/** An image file that was made. */
export interface Picture {
  image: Uint8Array;
  format: Format;
  width: number;
  height: number;
  frames: number;
}

/** Does the work, and gives its one result. */
export async function doPixelWork(
  work: PixelWork,
  limits: Limits,
  context: JobContext,
): Promise<void> {
  await context.step(true);
  const open = await openImage(work.image);
  const value = await resultOf(work, open, limits);
  await context.emit({ value, done: 1, total: 1 });
}

async function resultOf(work: PixelWork, open: OpenImage, limits: Limits) {
  switch (work.kind) {
    case "info":
      return toInfo(open, work.includeExif);
    case "thumbnail": {
      const { size, format } = work;
      const picture = decode(work.image, open, limits)
        .autoOrient()
        .resize({ width: size, height: size, fit: "inside", withoutEnlargement: true });
      return await encode(picture, format, 80, 1);
    }
    case "convert":
      return await convert(work.image, open, work.conversion, limits);
  }
}

function toInfo(open: OpenImage, includeExif: boolean): ImageInfo {
  const { metadata, format, frames } = open;
  const [width, height] = uprightSize(open);
  const { depth, icc, exif } = metadata;
  return {
    format,
    width,
    height,
    orientation: metadata.orientation ?? 0,
    frames,
    colorSpace: metadata.space ?? "",
    profile: icc ? profileName(icc) : "",
    density: metadata.density ?? 0,
    hasAlpha: metadata.hasAlpha ?? false,
    bitDepth: bits[depth as string] ?? 8,
    exif: includeExif && exif ? new Uint8Array(exif) : new Uint8Array(),
  };
}

/** Bits of what libvips calls the depth of a channel. */
const bits: Record<string, number> = { uchar: 8, ushort: 16, uint: 32, float: 32, double: 64 };

/** The description of an ICC profile: its tag "desc", which is ASCII or UTF-16. */
function profileName(icc: Buffer): string {
  const count = icc.length >= 132 ? Math.min(icc.readUInt32BE(128), 100) : 0;
  for (let at = 132; at + 12 <= icc.length && at < 132 + 12 * count; at += 12) {
    if (icc.toString("latin1", at, at + 4) === "desc") {
      const tag = icc.subarray(icc.readUInt32BE(at + 4)).subarray(0, icc.readUInt32BE(at + 8));
      if (tag.toString("latin1", 0, 4) === "desc" && tag.length >= 12) {
        return tag.toString("latin1", 12, 12 + tag.readUInt32BE(8)).replace(/\0.*/s, "");
      }
      if (tag.toString("latin1", 0, 4) === "mluc" && tag.length >= 28) {
        const text = Buffer.from(
          tag.subarray(tag.readUInt32BE(24)).subarray(0, tag.readUInt32BE(20) & ~1),
        );
        return text.swap16().toString("utf16le");
      }
    }
  }
  return "";
}

async function convert(
  image: Uint8Array,
  open: OpenImage,
  { crop, fit, width, height, keepMetadata, quality, ...conversion }: Conversion,
  limits: Limits,
): Promise<Picture> {
  const format = conversion.format ?? open.format;
  const isAnimated = canMove.has(open.format) && canMove.has(format) && open.frames > 1;
  const isTurned = !conversion.ignoreOrientation && !isAnimated;
  const size = isTurned ? uprightSize(open) : ([open.width, open.height] as const);
  const part = crop ? checkPart(crop, size) : { left: 0, top: 0, width: size[0], height: size[1] };
  const frames = isAnimated ? open.frames : 1;
  const made = madeSize(part, { width, height, fit });
  checkPixels(made.width * made.height * frames, limits.maxPixels, "the result would have");
  checkSides(made.width, made.height, format);
  let picture = decode(image, open, limits, isAnimated);
  if (isTurned) {
    picture = picture.autoOrient();
  }
  if (crop) {
    picture = picture.extract(part);
  }
  if (made.width !== part.width || made.height !== part.height) {
    const background = format === "jpeg" ? white : { ...white, alpha: 0 };
    picture = picture.resize({ width: made.width, height: made.height, fit, background });
  }
  if (keepMetadata) {
    picture = picture.keepMetadata();
  }
  return await encode(picture, format, quality, frames);
}

const white = { r: 255, g: 255, b: 255 };

/** Formats of animated images. */
const canMove: ReadonlySet<Format> = new Set<Format>(["gif", "webp"]);

/** The size of the result, which is never larger than the part that it shows. */
function madeSize(
  part: Part,
  { width, height, fit }: { width: number; height: number; fit: Fit },
): { width: number; height: number } {
  if (width === 0 && height === 0) {
    return { width: part.width, height: part.height };
  }
  const x = width === 0 ? Number.POSITIVE_INFINITY : width / part.width;
  const y = height === 0 ? Number.POSITIVE_INFINITY : height / part.height;
  if (fit === "inside" || width === 0 || height === 0) {
    const scale = Math.min(x, y, 1);
    return {
      width: Math.max(1, Math.round(part.width * scale)),
      height: Math.max(1, Math.round(part.height * scale)),
    };
  }
  return { width: Math.min(width, part.width), height: Math.min(height, part.height) };
}

function checkPart(crop: Part, [width, height]: readonly [number, number]): Part {
  const { left, top } = crop;
  if (left + crop.width > width || top + crop.height > height) {
    throw new ImageError(
      "InvalidArgument",
      `crop reaches to ${left + crop.width} x ${top + crop.height}, and the image has ${width} x ${height} pixels: take a part that is within`,
    );
  }
  return { left, top, width: crop.width, height: crop.height };
}

/** Encodes a picture. Throws InvalidArgument when its pixels cannot be read. */
export async function encode(
  picture: Sharp,
  format: Format,
  quality: number,
  frames: number,
): Promise<Picture> {
  try {
    const { data, info } = await withFormat(picture, format, quality).toBuffer({
      resolveWithObject: true,
    });
    const height = frames > 1 ? (info.pageHeight ?? info.height / frames) : info.height;
    return { image: data, format, width: info.width, height, frames };
  } catch (error) {
    throw damaged(error);
  }
}

function withFormat(picture: Sharp, format: Format, quality: number): Sharp {
  switch (format) {
    case "jpeg":
      return picture.flatten({ background: white }).jpeg({ quality, mozjpeg: false });
    case "png":
      return picture.png();
    case "webp":
      // Half the time of the default effort, for 2 % more bytes.
      return picture.webp({ quality, effort: 2 });
    case "gif":
      return picture.gif({ effort: 4 });
    case "avif":
      // The default effort takes 20 s for 3.4 million pixels.
      return picture.avif({ quality, effort: 2 });
    case "tiff":
      return picture.tiff({ quality, compression: "deflate" });
  }
}
