import { setTimeout as pause } from "node:timers/promises";
import { telemetry } from "@jetrpc/otel";
import { serve } from "@jetrpc/runtime/node";
import { PhotoService } from "@jetrpc-examples/photo-v1-client";
import { trace } from "@opentelemetry/api";
import { setUp } from "./sdk.js";

/** Runs a worker in this process, which its parent talks to. */
export async function runWorker(name: string): Promise<void> {
  const send = (message: object) => void process.send?.(message);
  const readMetrics = setUp(name, (span) => send({ span }));
  process.on("message", async () => send({ points: await readMetrics() }));
  // Ends with its parent.
  process.on("disconnect", () => process.exit());
  const tracer = trace.getTracer("worker");
  const draw = (what: string, ms: number) =>
    tracer.startActiveSpan(`draw ${what}`, async (span) => {
      await pause(ms);
      span.end();
    });
  await serve(
    PhotoService,
    {
      getInfo: () => ({ width: 4000, height: 3000 }),
      async resize({ photo, width }) {
        await draw("the photo", 5);
        return { file: `${width}-${photo}` };
      },
      async *makeThumbnails({ count }) {
        for (let number = 1; number <= count; number++) {
          await draw(`thumbnail ${number}`, 50);
          yield { file: `${number}.jpg` };
        }
      },
    },
    { observer: telemetry() },
  );
  send({ ready: true });
}
