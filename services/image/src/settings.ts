import { availableParallelism } from "node:os";
import { Code, ConnectError } from "@jetrpc/runtime";
import { readWholeNumber } from "@jetrpc-examples/service-kit";
import { defaultModels, type ModelEngineOptions } from "./model-engine.js";
import { defaultLimits, type ImageLimits } from "./pixel-engine.js";

/** Settings of a worker process. */
export interface Settings {
  readonly limits: Required<ImageLimits>;
  /** Whether the methods without a model are served, and by how many child processes. */
  readonly pixels: { readonly processes: number } | undefined;
  /** Whether the methods with a model are served, and how. */
  readonly models: Required<Omit<ModelEngineOptions, keyof ImageLimits>> | undefined;
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
  const threads = readWholeNumber(environment, "IMAGE_MODEL_THREADS") ?? 1;
  const methods = environment["IMAGE_METHODS"] || "all";
  if (!["all", "pixels", "models"].includes(methods)) {
    throw invalid(`IMAGE_METHODS is "${methods}": it must be all, pixels or models`);
  }
  return {
    limits,
    pixels: methods === "models" ? undefined : { processes },
    models: methods === "pixels" ? undefined : { ...readModels(environment), threads },
  };
}

function readModels(environment: NodeJS.ProcessEnv) {
  const devices = (environment["IMAGE_DEVICE"] || "auto").split(",").map((each) => each.trim());
  for (const device of devices) {
    if (!/^(?:auto|cpu|cuda:\d+)$/.test(device)) {
      throw invalid(`IMAGE_DEVICE has "${device}": it must be auto, cpu or cuda:0, cuda:1, …`);
    }
  }
  const { detector, recognizer, dictionary, upscalers } = defaultModels;
  return {
    devices,
    detector: environment["IMAGE_DETECTOR"] || detector,
    recognizer: environment["IMAGE_RECOGNIZER"] || recognizer,
    dictionary: environment["IMAGE_DICTIONARY"] || dictionary,
    upscalers: {
      2: environment["IMAGE_UPSCALER_2X"] || upscalers[2],
      4: environment["IMAGE_UPSCALER_4X"] || upscalers[4],
    },
  };
}

function invalid(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument);
}
