/** A child process of the ModelEngine. */
import { runChild } from "./child-process.js";
import {
  checkPixels,
  checkSides,
  damaged,
  decode,
  type Limits,
  type OpenImage,
  openImage,
  uprightSize,
} from "./image-file.js";
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
    await context.step(true);
    const open = await openImage(work.image);
    if (work.kind === "read-text") {
      const { pixels, alpha } = await decodePixels(work.image, open);
      await readText(alpha ? onPlainGround(pixels, alpha) : pixels, models, context);
    } else {
      const { factor, format } = work.enlargement;
      const [width, height] = uprightSize(open);
      checkPixels(width * height * factor ** 2, limits.maxPixels, "the enlarged image would have");
      checkSides(width * factor, 1, format);
      const { pixels, alpha } = await decodePixels(work.image, open);
      await upscale(pixels, alpha, work.enlargement, models, context);
    }
  },
});

/** Decodes an image, with its alpha channel beside it. */
async function decodePixels(
  image: Uint8Array,
  open: OpenImage,
): Promise<{ pixels: Pixels; alpha: Uint8Array | undefined }> {
  const [width, height] = uprightSize(open);
  const picture = decode(image, open, limits).autoOrient().toColourspace("srgb");
  try {
    const data = await picture.clone().removeAlpha().raw({ depth: "uchar" }).toBuffer();
    const alpha = open.metadata.hasAlpha
      ? await picture.extractChannel("alpha").raw({ depth: "uchar" }).toBuffer()
      : undefined;
    return { pixels: { width, height, data: asColors(data, width * height) }, alpha };
  } catch (error) {
    throw damaged(error);
  }
}

/** Lays what is there of an image on white when it is dark, and on black when it is bright. */
function onPlainGround({ width, height, data }: Pixels, alpha: Uint8Array): Pixels {
  let [seen, bright] = [0, 0];
  for (let i = 0; i < alpha.length; i++) {
    seen += alpha[i] as number;
    bright += (alpha[i] as number) * (data[3 * i + 1] as number);
  }
  const ground = bright > 127 * seen ? 0 : 255;
  const laid = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const opaque = alpha[Math.floor(i / 3)] as number;
    laid[i] = ((data[i] as number) * opaque + ground * (255 - opaque)) / 255;
  }
  return { width, height, data: laid };
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
