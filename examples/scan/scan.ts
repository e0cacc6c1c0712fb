/**
 * `npm run example:scan [-- any.pdf]`: makes a scanned PDF searchable. The PDF service draws its
 * pages, and the image service reads them. A worker of each service is killed meanwhile.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createImageClient } from "@jetrpc-examples/image-v1-client";
import { createPdfClient, ImageFormat } from "@jetrpc-examples/pdf-v1-client";
import { ProgressBar } from "../pdf-demo/progress-bar.js";
import { runDemo } from "../pdf-demo/run-demo.js";
import { startWorker } from "../pdf-demo/worker-process.js";
import { type ReadPage, searchablePdf } from "./searchable-pdf.js";

const top = join(import.meta.dirname, "../..");
const path = process.argv[2] ?? join(top, "services/image/fixtures/scan.pdf");
const out = join(top, "out");
const dpi = 150;

await runDemo(async () => {
  const document = await readFile(path);
  await using nats = await startNats();
  await using drawer = await startWorker(nats.url, { env: { PDF_THREADS: "1" } });
  await using connection = await connect({ nats: { servers: nats.url } });
  const pdf = createPdfClient(connection);
  const image = createImageClient(connection);

  const { pageCount } = await pdf.getInfo({ document });
  await using reader = await startWorker(nats.url, {
    service: "image",
    env: { IMAGE_METHODS: "models", IMAGE_DEVICE: "cpu" },
  });
  const callId = `scan-${Date.now()}`;
  const request = { document, dpi, format: ImageFormat.JPEG, quality: 90 };
  const drawing = await pdf.renderPages.submit(request, { callId });

  // A page is a step when it is drawn, and another one when it is read.
  const bar = new ProgressBar(2 * pageCount, "steps");
  const shown = [bar.follow(drawing, pageCount)];

  const pages: ReadPage[] = [];
  for await (const picture of drawing) {
    const { page } = picture;
    if (page === 1) {
      await drawer.restart();
      bar.note("the worker that draws was killed at page 1, and another one goes on");
    }
    const options = { callId: `${callId}-${page}` };
    const reading = await image.readText.submit({ image: picture.image }, options);
    shown.push(bar.follow(reading, 1));
    const lines = [];
    for await (const line of reading) {
      lines.push(line);
      if (page === 2 && line.line === 2) {
        await reader.restart();
        bar.note("the worker that reads was killed at line 2 of page 2, and another one goes on");
      }
    }
    const { attempts } = await reading.status();
    bar.note(`page ${page}: ${lines.length} lines, attempts: ${attempts.length}`);
    pages.push({ picture, lines });
  }
  await Promise.all(shown);
  bar.end();

  const { attempts } = await drawing.status();
  console.log(`${pages.length} of ${pageCount} pages, drawn in ${attempts.length} attempts`);
  const texts = pages.map(({ lines }) => lines.map(({ text }) => text).join("\n"));
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "scan.pdf"), await searchablePdf(pages, dpi));
  await writeFile(join(out, "scan.txt"), `${texts.join("\n\n")}\n`);
  console.log("In out/: scan.pdf, in which text is found and copied, and scan.txt");
});
