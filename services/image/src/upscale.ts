import sharp from "sharp";
import type { JobContext } from "./child-process.js";
import { ImageError } from "./image-error.js";
import { type LoadedModel, type Models, warm } from "./models.js";
import { encode } from "./pixel-work.js";
import type { Pixels } from "./pixels.js";

/** How an image is enlarged. */
export interface Enlargement {
  readonly factor: 2 | 4;
  readonly format: "jpeg" | "png" | "webp";
  /** 1 to 100. */
  readonly quality: number;
}

/** A band of an enlarged image. */
export interface Band {
  readonly image: Uint8Array;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly totalHeight: number;
  readonly model: string;
}

/** Sides of a tile as the model is given it: always the same, as new shapes are slow on a GPU. */
const tileSide = 96;

/** Pixels around the part of a tile that is used: as far as the model looks. */
const margin = 12;

const innerSide = tileSide - 2 * margin;

/** Enlarges an image, and gives a band for each row of tiles, after `skip` bands. */
export async function upscale(
  pixels: Pixels,
  alpha: Uint8Array | undefined,
  { factor, format, quality }: Enlargement,
  models: Models,
  context: JobContext,
): Promise<void> {
  const model = models.upscalers[factor];
  const columns = Math.ceil(pixels.width / innerSide);
  const bands = Math.ceil(pixels.height / innerSide);
  const width = pixels.width * factor;
  const largeAlpha = alpha && (await enlargeAlpha(alpha, pixels, factor));
  for (let band = context.skip; band < bands; band++) {
    const top = band * innerSide;
    const height = Math.min(innerSide, pixels.height - top) * factor;
    const data = new Uint8Array(width * height * 3);
    for (let column = 0; column < columns; column++) {
      // Between tiles a cancellation arrives.
      await context.step();
      await enlargeTile(pixels, column * innerSide, top, factor, model, data, width);
    }
    let picture = sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false });
    if (largeAlpha) {
      const part = largeAlpha.subarray(top * factor * width, (top * factor + height) * width);
      picture = picture.joinChannel(Buffer.from(part), { raw: { width, height, channels: 1 } });
    }
    const { image } = await encode(picture, format, quality, 1);
    const value: Band = {
      image,
      top: top * factor,
      width,
      height,
      totalHeight: pixels.height * factor,
      model: model.name,
    };
    await context.emit({ value, done: (band + 1) * columns, total: bands * columns });
  }
}

/** Runs the models once for the shape that they are given. Throws what {@link warm} throws. */
export async function warmUpscalers({ upscalers }: Models): Promise<void> {
  for (const factor of [2, 4] as const) {
    const side = tileSide * factor;
    await warm(upscalers[factor], [1, 3, tileSide, tileSide], [1, 3, side, side]);
  }
}

/** Enlarges the tile at a place, and puts it into its band. */
async function enlargeTile(
  { data, width, height }: Pixels,
  left: number,
  top: number,
  factor: number,
  model: LoadedModel,
  band: Uint8Array,
  bandWidth: number,
): Promise<void> {
  const plane = tileSide * tileSide;
  const input = new Float32Array(3 * plane);
  for (let y = 0; y < tileSide; y++) {
    // Beyond the border the border goes on.
    const row = Math.max(0, Math.min(height - 1, top - margin + y)) * width;
    for (let x = 0; x < tileSide; x++) {
      const from = 3 * (row + Math.max(0, Math.min(width - 1, left - margin + x)));
      for (let c = 0; c < 3; c++) {
        input[c * plane + y * tileSide + x] = data[from + c] as number;
      }
    }
  }
  const output = (await model.run(input, [1, 3, tileSide, tileSide])).data as Float32Array;
  const side = tileSide * factor;
  const rows = band.length / 3 / bandWidth;
  const columns = Math.min(innerSide * factor, bandWidth - left * factor);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const from = (y + margin * factor) * side + x + margin * factor;
      const to = 3 * (y * bandWidth + left * factor + x);
      for (let c = 0; c < 3; c++) {
        const value = output[c * side * side + from] as number;
        band[to + c] = value < 0 ? 0 : value > 255 ? 255 : Math.round(value);
      }
    }
  }
  if (!Number.isFinite(output[0] as number)) {
    throw new ImageError("Internal", "the model has made what are no numbers");
  }
}

async function enlargeAlpha(
  alpha: Uint8Array,
  { width, height }: Pixels,
  factor: number,
): Promise<Uint8Array> {
  return await sharp(alpha, { raw: { width, height, channels: 1 }, limitInputPixels: false })
    .resize(width * factor, height * factor, { kernel: "cubic" })
    .extractChannel(0)
    .raw()
    .toBuffer();
}
