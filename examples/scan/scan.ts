/**
 * `npm run example:scan [-- any.pdf]`: reads the text of a scanned PDF. The PDF service draws
 * its pages, and the image service reads them. Of each service a worker is killed meanwhile.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createImageClient } from "@jetrpc-examples/image-v1-client";
import { createPdfClient } from "@jetrpc-examples/pdf-v1-client";
import { startWorker } from "../pdf-demo/worker-process.js";

const top = join(import.meta.dirname, "../..");
const path = process.argv[2] ?? join(top, "services/image/fixtures/scan.pdf");
const models = { service: "image", env: { IMAGE_METHODS: "models", IMAGE_DEVICE: "cpu" } } as const;

await using nats = await startNats();
await using pdfWorker = await startWorker(nats.url);
await using imageWorker = await startWorker(nats.url, models);
const connection = await connect({ nats: { servers: nats.url } });
const pdf = createPdfClient(connection);
const image = createImageClient(connection);

const document = await readFile(path);
const { pageCount } = await pdf.getInfo({ document });
const callId = `scan-${Date.now()}`;
const pages = await pdf.renderPages.submit({ document, dpi: 150 }, { callId });
const others: AsyncDisposable[] = [];

const text: string[] = [];
for await (const { page, image: picture } of pages) {
  const call = await image.readText.submit({ image: picture }, { callId: `${callId}-${page}` });
  if (page === 1) {
    await pdfWorker.kill();
    console.log("the worker that draws the pages was killed, and another one goes on");
    others.push(await startWorker(nats.url));
  }
  const lines: string[] = [];
  for await (const line of call) {
    lines.push(line.text);
    if (page === 2 && line.line === 2) {
      await imageWorker.kill();
      console.log("the worker that reads page 2 was killed at line 2, and another one goes on");
      others.push(await startWorker(nats.url, models));
    }
  }
  console.log(`page ${page} of ${pageCount}: ${lines.length} lines, "${lines[0] ?? ""}"`);
  text.push(`--- page ${page}`, ...lines);
}
await connection.close();
for (const other of others) {
  await other[Symbol.asyncDispose]();
}

await mkdir(join(top, "out"), { recursive: true });
await writeFile(join(top, "out/scan.txt"), `${text.join("\n")}\n`);
console.log("the text is in out/scan.txt");
