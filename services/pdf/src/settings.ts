import { availableParallelism } from "node:os";
import { readWholeNumber } from "@jetrpc-examples/service-kit";
import type { PdfEngineOptions } from "./pdf-engine.js";

/** Settings of a worker process. */
export interface Settings extends PdfEngineOptions {
  /** Calls of each method at once. */
  readonly concurrency: number;
}

/** Options of the engine, by the names of their environment variables. */
const variables: Record<string, keyof PdfEngineOptions> = {
  PDF_THREADS: "threads",
  PDF_MAX_PIXELS: "maxPixels",
  PDF_MAX_RESULT_BYTES: "maxResultBytes",
  PDF_PAGE_TIMEOUT_MS: "pageTimeoutMs",
  PDF_MAX_MEMORY_BYTES: "maxMemoryBytes",
  PDF_KEEP_MEMORY_BYTES: "keepMemoryBytes",
};

/** Reads the settings. Throws InvalidArgument for what is no whole number above 0. */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const settings: PdfEngineOptions = {};
  for (const [variable, option] of Object.entries(variables)) {
    const value = readWholeNumber(environment, variable);
    if (value !== undefined) {
      settings[option] = value;
    }
  }
  const concurrency = readWholeNumber(environment, "PDF_CONCURRENCY");
  return { ...settings, concurrency: concurrency ?? settings.threads ?? availableParallelism() };
}
