/**
 * A worker process of ImageService. README.md tells its settings.
 */

import { serve } from "@jetrpc/runtime/node";
import { ImageService, type ImageWorker } from "@jetrpc-examples/image-v1-client";
import { runProcess } from "@jetrpc-examples/service-kit";
import { ModelEngine } from "./model-engine.js";
import { createModelWorker } from "./model-worker.js";
import { PixelEngine } from "./pixel-engine.js";
import { createPixelWorker } from "./pixel-worker.js";
import { readSettings } from "./settings.js";
import { versionOf } from "./version.js";

await runProcess("IMAGE_EXIT_WITH_STDIN", async () => {
  const { limits, pixels, models } = readSettings(process.env);
  await using pixelEngine = pixels && (await PixelEngine.start({ ...limits, ...pixels }));
  await using modelEngine = models && (await ModelEngine.start({ ...limits, ...models }));
  for (const { device, note } of modelEngine?.devices ?? []) {
    console.error(`models run on ${device}${note && `: ${note}`}`);
  }
  const worker: Partial<ImageWorker> = {
    ...(pixelEngine && createPixelWorker(pixelEngine, limits.maxBytes)),
    ...(modelEngine && createModelWorker(modelEngine, limits.maxBytes)),
  };
  const served = await serve(ImageService, worker, {
    // A method gets as many calls as there are processes for it; one waits in either queue.
    concurrency: Math.max(pixels?.processes ?? 0, models?.devices.length ?? 0),
    version: versionOf(modelEngine?.devices ?? []),
  });
  console.log("ready");
  await served.closed;
});
