import { availableParallelism } from "node:os";
import { Code, ConnectError } from "@jetrpc/runtime";
import { checkWholeNumbers } from "@jetrpc-examples/service-kit";
import { ChildPool } from "./child-pool.js";
import type { Limits } from "./image-file.js";
import type { Conversion, ImageInfo, Picture, PixelWork, ResultOf } from "./pixel-work.js";

/** What an engine grants an image. */
export interface ImageLimits {
  /** Pixels of an image, of all frames that are decoded, and of what is made of it. Default: 50 million. */
  maxPixels?: number;
  /** Bytes of an image file. Default: 25 MB. */
  maxBytes?: number;
  /** Frames of an animated image that stays animated. Default: 60. */
  maxFrames?: number;
  /** How long an image may take to be decoded and encoded, in ms. Default: 30 s. */
  imageTimeoutMs?: number;
  /** Bytes of memory that a process may take before it is ended. Default: 2 GiB. */
  maxMemoryBytes?: number;
  /** A process that has more bytes of memory after a call is replaced. Default: 1,280 MiB. */
  keepMemoryBytes?: number;
}

/** Options of {@link PixelEngine.start}. */
export interface PixelEngineOptions extends ImageLimits {
  /** Processes. Default: as many as there are CPU cores. */
  processes?: number;
}

const mebibyte = 1024 * 1024;

/** The limits that are granted where nothing else is said. */
export const defaultLimits: Required<ImageLimits> = {
  maxPixels: 50_000_000,
  maxBytes: 25_000_000,
  maxFrames: 60,
  imageTimeoutMs: 30_000,
  maxMemoryBytes: 2048 * mebibyte,
  keepMemoryBytes: 1280 * mebibyte,
};

/**
 * Works on images by libvips, in child processes. An image that crashes, hangs or fills
 * its process ends its own call only.
 *
 * All calls throw a ConnectError:
 * - InvalidArgument for a damaged image, a format that is not read, and for wrong options,
 * - ResourceExhausted for what has more pixels, bytes, frames or memory than granted, or takes longer,
 * - Unavailable when a process is lost, or the engine is closed.
 *
 * All but the last are marked as permanent: another attempt would end alike.
 */
export class PixelEngine implements AsyncDisposable {
  private constructor(private readonly pool: ChildPool) {}

  /** Starts the processes. */
  static async start(options: PixelEngineOptions = {}): Promise<PixelEngine> {
    const { processes, ...limits } = {
      processes: availableParallelism(),
      ...defaultLimits,
      ...options,
    };
    checkWholeNumbers({ processes, ...limits });
    const setup: Limits = { maxPixels: limits.maxPixels, maxFrames: limits.maxFrames };
    const pool = await ChildPool.start({
      script: new URL("./pixel-process.js", import.meta.url),
      setups: Array.from({ length: processes }, () => setup),
      startTimeoutMs: 60_000,
      stepTimeoutMs: limits.imageTimeoutMs,
      maxMemoryBytes: limits.maxMemoryBytes,
      keepMemoryBytes: limits.keepMemoryBytes,
    });
    return new PixelEngine(pool);
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

  /** Tells what an image is. Goes before other calls. */
  info(image: Uint8Array, includeExif: boolean, signal?: AbortSignal): Promise<ImageInfo> {
    return this.run({ kind: "info", image, includeExif }, signal);
  }

  /** Makes a small picture. Goes before conversions. */
  thumbnail(
    work: Omit<Extract<PixelWork, { kind: "thumbnail" }>, "kind">,
    signal?: AbortSignal,
  ): Promise<Picture> {
    return this.run({ kind: "thumbnail", ...work }, signal);
  }

  /** Makes an image of another format or size. */
  convert(image: Uint8Array, conversion: Conversion, signal?: AbortSignal): Promise<Picture> {
    return this.run({ kind: "convert", image, conversion }, signal);
  }

  private async run<W extends PixelWork>(
    work: W,
    signal: AbortSignal | undefined,
  ): Promise<ResultOf[W["kind"]]> {
    const isUrgent = work.kind !== "convert";
    for await (const { value } of this.pool.run<ResultOf[W["kind"]]>(work, { signal, isUrgent })) {
      return value;
    }
    throw new ConnectError("the process gave no result", Code.Internal);
  }
}
