/** A child process of the ModelEngine. */
import { type JobContext, runChild } from "./child-process.js";
import { checkPixels, damaged, decode, isOnItsSide, type Limits, openImage } from "./image-file.js";
import { loadModels, type ModelSetup, type Models } from "./models.js";
import type { Pixels } from "./pixels.js";
import { readText, warmText } from "./read-text.js";
import { type Enlargement, upscale, warmUpscalers } from "./upscale.js";

/** What to do. */
export type ModelWork =
  | { readonly kind: "read-text"; readonly image: Uint8Array }
  | { readonly kind: "upscale"; readonly image: Uint8Array; readonly enlargement: Enlargement };

/** What a process says of itself when it is ready. */
export interface AboutModels {
  readonly device: string;
  readonly note: string;
}

let models: Models;
let limits: Limits;

runChild<{ models: ModelSetup; limits: Limits }, ModelWork>({
  async start(setup) {
    ({ limits } = setup);
    models = await loadModels(setup.models);
    await warmText(models);
    await warmUpscalers(models);
    const about: AboutModels = { device: models.device, note: models.note };
    return about;
  },

  async run(work, context) {
    if (work.kind === "read-text") {
      const { pixels } = await decodePixels(work.image, 1, context);
      await readText(pixels, models, context);
    } else {
      const { factor } = work.enlargement;
      const { pixels, alpha } = await decodePixels(work.image, factor, context);
      await upscale(pixels, alpha, work.enlargement, models, context);
    }
  },
});

/** Decodes an image; on white where it is to be read, else with its alpha channel beside it. */
async function decodePixels(
  image: Uint8Array,
  factor: number,
  context: JobContext,
): Promise<{ pixels: Pixels; alpha?: Uint8Array | undefined }> {
  await context.step(true);
  const open = await openImage(image);
  const [width, height] = isOnItsSide(open) ? [open.height, open.width] : [open.width, open.height];
  checkPixels(width * height * factor ** 2, limits.maxPixels, "the enlarged image would have");
  const picture = decode(image, open, limits).autoOrient().toColourspace("srgb");
  const hasAlpha = factor > 1 && open.metadata.hasAlpha;
  try {
    const colors = picture.clone();
    const data = await (hasAlpha ? colors.removeAlpha() : colors.flatten({ background: "white" }))
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer();
    const alpha = hasAlpha
      ? await picture.extractChannel("alpha").raw({ depth: "uchar" }).toBuffer()
      : undefined;
    return { pixels: { width, height, data: asColors(data, width * height) }, alpha };
  } catch (error) {
    throw damaged(error);
  }
}

/** Three bytes a pixel, also of an image that is grey. */
function asColors(data: Uint8Array, count: number): Uint8Array {
  if (data.length === 3 * count) {
    return data;
  }
  const channels = data.length / count;
  return Uint8Array.from(
    { length: 3 * count },
    (_, i) => data[Math.floor(i / 3) * channels] as number,
  );
}
