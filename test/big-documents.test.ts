import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { PDFiumLibrary } from "@hyzyla/pdfium";
import type { Connection } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { createPdfClient, type PdfClient } from "@jetrpc-examples/pdf-v1-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startWorker, type WorkerProcess } from "../examples/pdf-demo/worker-process.js";
import { findDebianDocuments } from "./debian-documents.js";

const found = findDebianDocuments();
if ("reason" in found && process.env["CI"]) {
  throw new Error(found.reason);
}
const paths = "paths" in found ? found.paths : [];

describe.skipIf(paths.length === 0)("ExtractText of a large document", () => {
  let nats: NatsServer;
  let worker: WorkerProcess;
  let connection: Connection;
  let pdf: PdfClient;

  beforeAll(async () => {
    nats = await startNats();
    worker = await startWorker(nats.url);
    connection = await connect({ nats: { servers: nats.url } });
    pdf = createPdfClient(connection);
  });

  afterAll(async () => {
    await connection?.close();
    await worker?.[Symbol.asyncDispose]();
    await nats?.stop();
  });

  test.each(paths)("%s", { timeout: 180_000 }, async (path) => {
    const document = readFileSync(path);

    const start = performance.now();
    const direct = await extractDirectly(document);
    const directMs = performance.now() - start;

    const texts: string[] = [];
    const pages: number[] = [];
    const callStart = performance.now();
    for await (const { page, text } of pdf.extractText({ document })) {
      pages.push(page);
      texts.push(text);
    }
    const callMs = performance.now() - callStart;
    console.log(
      `${basename(path)}: ${pages.length} pages, PDFium alone ${directMs.toFixed(0)} ms, over NATS ${callMs.toFixed(0)} ms, ratio ${(callMs / directMs).toFixed(2)}`,
    );

    const info = await pdf.getInfo({ document });
    expect(info.pageCount).toBe(direct.length);
    expect(pages).toEqual(direct.map((_, index) => index + 1));
    expect(texts).toEqual(direct);

    const second = secondOpinion(path);
    if (second === undefined) {
      expect(process.env["CI"], "CI has pdftotext").toBeUndefined();
      return;
    }
    expect(second).toHaveLength(texts.length);
    expect(sharedWords(texts.join(" "), second.join(" "))).toBeGreaterThan(0.8);
  });
});

/** The text of each page by PDFium in this process. */
async function extractDirectly(document: Uint8Array): Promise<string[]> {
  const library = await PDFiumLibrary.init();
  try {
    const opened = await library.loadDocument(document);
    const texts = [...opened.pages()].map((page) => page.getText());
    opened.destroy();
    return texts;
  } finally {
    library.destroy();
  }
}

/** The text of each page by poppler, where it is installed. */
function secondOpinion(path: string): string[] | undefined {
  try {
    const text = execFileSync("pdftotext", ["-enc", "UTF-8", path, "-"], {
      encoding: "utf8",
      maxBuffer: 256 * 1024 * 1024,
      stdio: ["ignore", "pipe", "ignore"],
    });
    // A form feed ends each page.
    return text.split("\f").slice(0, -1);
  } catch {
    return undefined;
  }
}

/** Share of the words of one text that are in the other too, each counted as often as it is there. */
function sharedWords(one: string, other: string): number {
  const words = (text: string) => text.normalize("NFKC").match(/[\p{L}\p{N}]{2,}/gu) ?? [];
  const counts = new Map<string, number>();
  for (const word of words(other)) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  let shared = 0;
  const all = words(one);
  for (const word of all) {
    const left = counts.get(word) ?? 0;
    if (left > 0) {
      shared++;
      counts.set(word, left - 1);
    }
  }
  return shared / all.length;
}
