/**
 * `npm run demo [-- any.pdf]`: a document through two workers, one of which is
 * killed in the middle. Everything runs here: the workers as processes, this
 * client as any app would write it, and, unless NATS_URL names one, a nats-server.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createPdfClient, ImageFormat, type PdfClient } from "@jetrpc-examples/pdf-v1-client";
import { ProgressBar } from "./progress-bar.js";
import { runDemo } from "./run-demo.js";
import { startWorker, type WorkerProcess } from "./worker-process.js";

const top = join(import.meta.dirname, "../..");
const out = join(top, "out");
const path = process.argv[2] ?? join(top, "services/pdf/fixtures/demo.pdf");

/** Pages that get a thumbnail: enough to be killed in the middle of. */
const mostThumbnails = 150;

async function main(): Promise<void> {
  const document = await readFile(path);
  const start = Date.now();
  const given = process.env["NATS_URL"];
  await using nats = given ? undefined : await startNats();
  const url = nats?.url ?? (given as string);
  say(`nats-server   ${nats ? `pid ${nats.pid}, ` : ""}${url}`);
  await using first = await startWorker(url);
  say(`worker 1      pid ${first.pid}`);
  const connection = await connect({ nats: { servers: url.split(",") } });
  try {
    const pdf = createPdfClient(connection);
    const pages = await showInfo(pdf, document);
    await showText(pdf, document, pages);
    await using second = await startWorker(url, { waits: true });
    await makeThumbnails(pdf, document, Math.min(pages, mostThumbnails), first, second);
  } finally {
    await connection.close();
  }
  say(`\nDone in ${((Date.now() - start) / 1000).toFixed(1)} s.`);
}

/** A direct call: core NATS request and reply. */
async function showInfo(pdf: PdfClient, document: Uint8Array): Promise<number> {
  const info = await pdf.getInfo({ document });
  const size = (document.length / 1e6).toFixed(1);
  say(
    `\n${basename(path)}: "${info.title}", ${info.pageCount} pages, ${size} MB, PDF ${info.pdfVersion}`,
  );
  return info.pageCount;
}

/** A durable call that streams: a page a message. */
async function showText(pdf: PdfClient, document: Uint8Array, pages: number): Promise<void> {
  say("\nExtractText");
  const bar = new ProgressBar(pages, "pages");
  const texts: string[] = [];
  for await (const page of pdf.extractText({ document })) {
    texts.push(page.text);
    bar.show(texts.length);
  }
  bar.end();
  for (const [index, text] of texts.slice(0, 3).entries()) {
    const beginning = text.replace(/\s+/g, " ").trim().slice(0, 160);
    say(`  page ${index + 1}: ${beginning || "(no text)"}`);
  }
}

/** The same with pictures, and a worker that dies of it. */
async function makeThumbnails(
  pdf: PdfClient,
  document: Uint8Array,
  count: number,
  first: WorkerProcess,
  second: WorkerProcess,
): Promise<void> {
  const callId = `thumbnails-${process.pid}-${Date.now()}`;
  say(`\nRenderPages, submitted as call "${callId}"; worker 1 takes it`);
  await mkdir(out, { recursive: true });
  // Pages of an earlier run; the rest of the folder is not ours.
  const old = (await readdir(out)).filter((name) => /^page-\d+\.webp$/.test(name));
  await Promise.all(old.map((name) => rm(join(out, name))));
  const request = {
    document,
    pages: [{ first: 1, last: count }],
    dpi: 40,
    format: ImageFormat.WEBP,
  };
  const call = await pdf.renderPages.submit(request, { callId });
  // Someone else may follow the call by its id alone.
  const followed = collectPages(pdf.renderPages.attach(callId));

  const bar = new ProgressBar(count, "pages");
  const seen: number[] = [];
  for await (const page of call) {
    seen.push(page.page);
    bar.show(seen.length);
    await writeFile(join(out, `page-${String(page.page).padStart(4, "0")}.webp`), page.image);
    if (seen.length === Math.ceil(count / 3)) {
      await first.kill();
      bar.note(
        `worker 1 was killed (SIGKILL) at page ${page.page}; worker 2 (pid ${second.pid}) goes on when it was silent for 5 s`,
      );
    }
  }
  bar.end();

  const expected = Array.from({ length: count }, (_, index) => index + 1);
  check(seen, expected, "this client");
  check(await followed, expected, "the client that attached");
  // A client that has the first half already goes on where it was.
  const half = Math.floor(count / 2);
  const rest = pdf.renderPages.attach(callId).messages({ from: half });
  check(await collectPages(rest), expected.slice(half), "the client that came back");
  say(`  ${count} thumbnails in ${relative(process.cwd(), out) || "."}/: no page lost, none twice`);
}

async function collectPages(pages: AsyncIterable<{ page: number }>): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { page } of pages) {
    numbers.push(page);
  }
  return numbers;
}

function check(seen: number[], expected: number[], who: string): void {
  if (seen.join() !== expected.join()) {
    throw new Error(`${who} saw the pages ${seen.join(" ")}`);
  }
}

function say(text: string): void {
  console.log(text);
}

await runDemo(main);
