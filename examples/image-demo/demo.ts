/**
 * `npm run demo:image [-- any.jpg]`: a thumbnail of an image, its text and its enlargement, in
 * out/. Two workers serve one contract: one the methods without a model, one those with.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { listServices } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createImageClient, ImageFormat } from "@jetrpc-examples/image-v1-client";
import sharp, { type OverlayOptions } from "sharp";
import { ProgressBar } from "../pdf-demo/progress-bar.js";
import { runDemo } from "../pdf-demo/run-demo.js";
import { startWorker } from "../pdf-demo/worker-process.js";

const top = join(import.meta.dirname, "../..");
const out = join(top, "out");
const path = process.argv[2] ?? join(top, "services/image/fixtures/photo.jpg");

async function main(): Promise<void> {
  const file = await readFile(path);
  await using nats = await startNats();
  const serve = (methods: string) =>
    startWorker(nats.url, { service: "image", env: { IMAGE_METHODS: methods } });
  await using pixels = await serve("pixels");
  console.log(`worker 1      pid ${pixels.pid}, without models`);
  await using connection = await connect({ nats: { servers: nats.url } });
  const image = createImageClient(connection);
  await mkdir(out, { recursive: true });

  const info = await image.getInfo({ image: file });
  console.log(`\n${basename(path)}: ${ImageFormat[info.format]}, ${info.width} x ${info.height}`);
  const thumbnail = await image.thumbnail({ image: file });
  await writeFile(join(out, "thumbnail.webp"), thumbnail.image);

  await using models = await serve("models");
  console.log(
    `\nworker 2      pid ${models.pid}, with models. Each tells what it serves, and on what:`,
  );
  for (const { version, methods } of await listServices(connection)) {
    console.log(`  ${version.padEnd(12)}  ${methods.map(({ name }) => name).join(", ")}`);
  }
  console.log("\nReadText");
  const lines: string[] = [];
  for await (const line of image.readText({ image: file })) {
    console.log(`  ${Math.round(100 * line.confidence)} %  ${line.text}`);
    lines.push(line.text);
  }
  await writeFile(join(out, "text.txt"), `${lines.join("\n")}\n`);

  console.log("\nUpscale");
  // At most 400 pixels on a side, so that a CPU is done soon.
  const small = await image.convert({ image: file, width: 400, height: 400 });
  const input = small.file ? { file: small.file } : { image: small.image };
  const bands: OverlayOptions[] = [];
  let [width, height] = [0, 0];
  const bar = new ProgressBar(2 * small.height, "rows");
  for await (const band of image.upscale({ ...input, factor: 2 })) {
    ({ width, totalHeight: height } = band);
    bands.push({ input: Buffer.from(band.image), left: 0, top: band.top });
    bar.show(band.top + band.height);
  }
  bar.end();
  const create = { width, height, channels: 4, background: "#0000" } as const;
  await sharp({ create }).composite(bands).png().toFile(join(out, "enlarged.png"));
  console.log("\nIn out/: thumbnail.webp, text.txt, enlarged.png");
}

await runDemo(main);
