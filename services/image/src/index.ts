/**
 * Engines for images in child processes, and the image service on top of them.
 *
 * @module
 */
export {
  type ImageLimits,
  PixelEngine,
  type PixelEngineOptions,
} from "./pixel-engine.js";
export type { Conversion, ImageInfo, Picture } from "./pixel-work.js";
export { createPixelWorker, type PixelWorker } from "./pixel-worker.js";
