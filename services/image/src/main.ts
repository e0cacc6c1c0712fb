/**
 * A worker process of ImageService. README.md tells its settings.
 */

import { serve } from "@jetrpc/runtime/node";
import { ImageService } from "@jetrpc-examples/image-v1-client";
import { runProcess } from "@jetrpc-examples/service-kit";
import { PixelEngine } from "./pixel-engine.js";
import { createPixelWorker } from "./pixel-worker.js";
import { readSettings } from "./settings.js";

await runProcess("IMAGE_EXIT_WITH_STDIN", async () => {
  const { processes, limits } = readSettings(process.env);
  await using engine = await PixelEngine.start({ processes, ...limits });
  const worker = await serve(ImageService, createPixelWorker(engine, limits.maxBytes), {
    concurrency: processes,
  });
  console.log("ready");
  await worker.closed;
});
