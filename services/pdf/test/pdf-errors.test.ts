import { Code } from "@jetrpc/runtime";
import { PdfEngine } from "@jetrpc-examples/pdf-service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { collect, errorOf, fixture } from "./fixture.js";

let engine: PdfEngine;

beforeAll(async () => {
  engine = await PdfEngine.start({
    maxMemoryBytes: 256 * 1024 * 1024,
    maxResultBytes: 20_000,
    // The document that takes all memory takes a busy machine minutes.
    pageTimeoutMs: 170_000,
  });
});

afterAll(async () => {
  await engine.close();
});

type Case = [what: string, file: string, password: string, code: Code, message: string];

const unreadable: Case[] = [
  ["no bytes", "empty.pdf", "", Code.InvalidArgument, "the document is empty: send a PDF file"],
  ["no PDF", "garbage.pdf", "", Code.InvalidArgument, "the document is not a PDF: send a PDF file"],
  [
    "half a PDF",
    "truncated.pdf",
    "",
    Code.InvalidArgument,
    "the document is corrupt: repair it or export it again",
  ],
  [
    "no pages",
    "no-pages.pdf",
    "",
    Code.InvalidArgument,
    "the document has no pages: repair it or export it again",
  ],
  [
    "no password (AES-256)",
    "encrypted.pdf",
    "",
    Code.FailedPrecondition,
    "the document is encrypted: give its password",
  ],
  [
    "no password (RC4)",
    "encrypted-rc4.pdf",
    "",
    Code.FailedPrecondition,
    "the document is encrypted: give its password",
  ],
  [
    "a wrong password",
    "encrypted.pdf",
    "Open Sesame",
    Code.PermissionDenied,
    "the password does not open the document: give its user or its owner password",
  ],
];

/** Every method, called with a document. */
const methods: Record<string, (document: Uint8Array, password: string) => Promise<unknown>> = {
  getInfo: (document, password) => engine.getInfo({ document, password }),
  extractText: (document, password) => collect(engine.extractText({ document, password })),
  renderPages: (document, password) => collect(engine.renderPages({ document, password })),
  split: (document, password) =>
    engine.split({ document, password, ranges: [{ first: 1, last: 0 }] }),
};

describe.each(Object.entries(methods))("%s", (_name, call) => {
  test.each(unreadable)("%s: %s", async (_what, file, password, code, rawMessage) => {
    expect(await errorOf(call(fixture(file), password))).toMatchObject({ code, rawMessage });
  });
});

test("merge tells the same of a source", async () => {
  const sources = [{ document: fixture("truncated.pdf") }];
  expect(await errorOf(engine.merge({ sources }))).toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: "source 1 of 1: the document is corrupt: repair it or export it again",
  });
});

test("a page that is not there ends the call after the pages before it", async () => {
  const texts: string[] = [];
  const call = async () => {
    for await (const { text } of engine.extractText({ document: fixture("missing-page.pdf") })) {
      texts.push(text);
    }
  };
  expect(await errorOf(call())).toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: "page 2 cannot be read: the document is corrupt, repair it or export it again",
  });
  expect(texts).toEqual([""]);
});

test("a page out of range", async () => {
  const input = { document: fixture("three-pages.pdf"), pages: [{ first: 2, last: 4 }] };
  const calls = [
    () => collect(engine.extractText(input)),
    () => collect(engine.renderPages(input)),
  ];
  for (const call of calls) {
    expect(await errorOf(call())).toMatchObject({
      code: Code.OutOfRange,
      rawMessage: "page 4 does not exist: the document has pages 1 to 3",
    });
  }
  const split = engine.split({ ...input, ranges: input.pages });
  expect(await errorOf(split)).toMatchObject({ code: Code.OutOfRange });
});

describe("more than is granted", () => {
  test("too many pixels", async () => {
    const call = collect(engine.renderPages({ document: fixture("huge-page.pdf"), dpi: 72 }));
    expect(await errorOf(call)).toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage:
        "page 1 would have 14400 x 14400 pixels at 72 dpi, more than 64000000 pixels in all: lower the dpi",
    });
  });

  test("too many pixels on a later page, told before the first is drawn", async () => {
    const merged = await engine.merge({
      sources: [fixture("three-pages.pdf"), fixture("huge-page.pdf")].map((document) => ({
        document,
      })),
    });
    const images = engine.renderPages({ document: merged, dpi: 72 });
    expect(await errorOf(images.next())).toMatchObject({ code: Code.ResourceExhausted });
  });

  test("too many pixels on a side for WebP", async () => {
    const input = { document: fixture("three-pages.pdf"), dpi: 1440, format: "webp" as const };
    await using wide = await PdfEngine.start({ maxPixels: 1_000_000_000 });
    expect(await errorOf(collect(wide.renderPages(input)))).toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage:
        "page 1 would have 11906 x 16838 pixels at 1440 dpi, more than 16383 pixels on each side in this image format: lower the dpi",
    });
  });

  test("too many bytes in one new document", async () => {
    const document = fixture("demo.pdf");
    const split = engine.split({ document, ranges: [{ first: 1, last: 0 }] });
    expect(await errorOf(split)).toMatchObject({ code: Code.ResourceExhausted });
    const merge = engine.merge({ sources: [{ document }] });
    expect(await errorOf(merge)).toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage: expect.stringContaining("ask for fewer pages"),
    });
  });

  test("too many bytes in many new documents", async () => {
    const ranges = Array.from({ length: 100 }, () => ({ first: 1, last: 1 }));
    const split = engine.split({ document: fixture("three-pages.pdf"), ranges });
    expect(await errorOf(split)).toMatchObject({ code: Code.ResourceExhausted });
  });

  test("too much memory", async () => {
    const call = collect(engine.extractText({ document: fixture("memory-bomb.pdf") }));
    expect(await errorOf(call)).toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage: "the document needs more than 268 MB of memory, which this worker does not grant",
    });
  });
});
