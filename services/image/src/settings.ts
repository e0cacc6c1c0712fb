import { availableParallelism } from "node:os";
import { readWholeNumber } from "@jetrpc-examples/service-kit";
import { defaultLimits, type ImageLimits } from "./pixel-engine.js";

/** Settings of a worker process. */
export interface Settings {
  readonly limits: Required<ImageLimits>;
  /** Child processes for the methods without a model. */
  readonly processes: number;
}

/** Limits, by the names of their environment variables. */
const variables: Record<string, keyof ImageLimits> = {
  IMAGE_MAX_PIXELS: "maxPixels",
  IMAGE_MAX_BYTES: "maxBytes",
  IMAGE_MAX_FRAMES: "maxFrames",
  IMAGE_TIMEOUT_MS: "imageTimeoutMs",
  IMAGE_MAX_MEMORY_BYTES: "maxMemoryBytes",
  IMAGE_KEEP_MEMORY_BYTES: "keepMemoryBytes",
};

/** Reads the settings. Throws InvalidArgument for what is wrong. */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const limits = { ...defaultLimits };
  for (const [variable, option] of Object.entries(variables)) {
    limits[option] = readWholeNumber(environment, variable) ?? limits[option];
  }
  const processes = readWholeNumber(environment, "IMAGE_PROCESSES") ?? availableParallelism();
  return { limits, processes };
}
