/**
 * Engines for images in child processes, and the image service on top of them.
 *
 * @module
 */
export { type Made, ModelEngine, type ModelEngineOptions } from "./model-engine.js";
export { createModelWorker, type ModelWorker } from "./model-worker.js";
export {
  type ImageLimits,
  PixelEngine,
  type PixelEngineOptions,
} from "./pixel-engine.js";
export type { Conversion, ImageInfo, Picture } from "./pixel-work.js";
export { createPixelWorker, type PixelWorker } from "./pixel-worker.js";
export type { TextLine } from "./read-text.js";
export type { Corners } from "./text-boxes.js";
export type { Band, Enlargement } from "./upscale.js";
