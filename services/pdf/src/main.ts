/**
 * A worker process of PdfService. README.md tells its settings.
 */

import { ConnectError } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";
import { PdfService } from "@jetrpc-examples/pdf-v1-client";
import { PdfEngine } from "./pdf-engine.js";
import { createPdfWorker } from "./pdf-worker.js";
import { readSettings } from "./settings.js";

if (process.env["PDF_EXIT_WITH_STDIN"]) {
  // For a parent that wants its worker to end with it, however it goes.
  process.stdin.on("end", () => process.exit()).resume();
  (process.stdin as unknown as { unref?: () => void }).unref?.();
}

try {
  const { concurrency, ...options } = readSettings(process.env);
  const engine = await PdfEngine.start(options);
  try {
    const worker = await serve(PdfService, createPdfWorker(engine), { concurrency });
    console.log("ready");
    await worker.closed;
  } finally {
    await engine.close();
  }
} catch (error) {
  console.error(error instanceof ConnectError ? error.message : error);
  process.exitCode = 1;
}
