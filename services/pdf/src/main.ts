/**
 * A worker process of PdfService. README.md tells its settings.
 */

import { serve } from "@jetrpc/runtime/node";
import { PdfService } from "@jetrpc-examples/pdf-v1-client";
import { runProcess } from "@jetrpc-examples/service-kit";
import { PdfEngine } from "./pdf-engine.js";
import { createPdfWorker } from "./pdf-worker.js";
import { readSettings } from "./settings.js";

await runProcess("PDF_EXIT_WITH_STDIN", async () => {
  const { concurrency, ...options } = readSettings(process.env);
  await using engine = await PdfEngine.start(options);
  const worker = await serve(PdfService, createPdfWorker(engine), { concurrency });
  console.log("ready");
  await worker.closed;
});
