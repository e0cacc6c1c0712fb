import { Code } from "@jetrpc/runtime";
import { PdfEngine } from "@jetrpc-examples/pdf-service";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { collect, errorOf, extractDirectly, fixture } from "./fixture.js";

let engine: PdfEngine;
const document = fixture("demo.pdf");
const threePages = fixture("three-pages.pdf");

beforeAll(async () => {
  engine = await PdfEngine.start();
});

afterAll(async () => {
  await engine.close();
});

describe("getInfo", () => {
  test("tells what a document is", async () => {
    const info = await engine.getInfo({ document });
    expect(info).toEqual({
      pageCount: 314,
      pages: expect.any(Array),
      title: "A Field Guide to the Numbers",
      author: "The jetrpc authors",
      subject: "The whole numbers from 1 to 1200, one by one",
      keywords: "numbers, primes, divisors, sample document",
      creator: "services/pdf/fixtures/make-demo.mjs",
      producer: "PDFKit",
      encrypted: false,
      pdfVersion: "1.3",
    });
    expect(info.pages).toHaveLength(314);
    expect(info.pages[0]?.width).toBeCloseTo(595.28, 2);
    expect(info.pages[0]?.height).toBeCloseTo(841.89, 2);
  });

  test("leaves empty what a document does not say", async () => {
    const info = await engine.getInfo({ document: fixture("huge-page.pdf") });
    expect(info).toMatchObject({ title: "", author: "", producer: "", pdfVersion: "1.7" });
  });

  test.each([
    ["encrypted.pdf", "open sesame"],
    ["encrypted.pdf", "owner"],
    ["encrypted-rc4.pdf", "open sesame"],
    ["encrypted-empty-password.pdf", ""],
    ["encrypted-empty-password.pdf", "owner"],
  ])("opens %s with password '%s'", async (name, password) => {
    const info = await engine.getInfo({ document: fixture(name), password });
    expect(info).toMatchObject({ pageCount: 3, encrypted: true });
  });

  test("a password does not hurt where none is needed", async () => {
    const info = await engine.getInfo({ document: threePages, password: "any" });
    expect(info).toMatchObject({ pageCount: 3, encrypted: false });
  });

  test("takes a view into a larger buffer", async () => {
    const buffer = new Uint8Array(threePages.length + 100);
    buffer.set(threePages, 50);
    const view = buffer.subarray(50, 50 + threePages.length);
    expect(await engine.getInfo({ document: view })).toMatchObject({ pageCount: 3 });
    expect(view).toEqual(new Uint8Array(threePages));
  });
});

describe("extractText", () => {
  test("gives every page as PDFium does", async () => {
    const pages = await collect(engine.extractText({ document }));
    const texts = await extractDirectly(document);
    expect(pages).toEqual(texts.map((text, index) => ({ page: index + 1, text })));
    expect(texts[3]).toContain("The unit: it divides every number");
  });

  test("reads an encrypted document", async () => {
    const encrypted = { document: fixture("encrypted.pdf"), password: "open sesame" };
    const pages = await collect(engine.extractText(encrypted));
    expect(pages.map(({ text }) => text)).toEqual(await extractDirectly(threePages));
  });

  test("goes on where an earlier attempt ended, and counts from the start", async () => {
    const pages = [
      { first: 5, last: 7 },
      { first: 1, last: 2 },
    ];
    const progress: number[][] = [];
    const rest = await collect(
      engine.extractText(
        { document, pages },
        { skip: 2, onProgress: (done, total) => progress.push([done, total]) },
      ),
    );
    expect(rest.map(({ page }) => page)).toEqual([7, 1, 2]);
    expect(progress).toEqual([
      [3, 5],
      [4, 5],
      [5, 5],
    ]);
  });

  test("gives nothing when an earlier attempt gave all", async () => {
    expect(await collect(engine.extractText({ document: threePages }, { skip: 3 }))).toEqual([]);
  });
});

describe("renderPages", () => {
  test.each(["png", "jpeg", "webp"] as const)("makes a %s of each page", async (format) => {
    const images = await collect(engine.renderPages({ document: threePages, dpi: 72, format }));
    expect(images.map(({ page }) => page)).toEqual([1, 2, 3]);
    for (const { image, width, height } of images) {
      expect([width, height]).toEqual([595, 842]);
      expect(await sharp(image).metadata()).toMatchObject({ format, width, height, channels: 3 });
    }
  });

  test("draws in the right colours", async () => {
    // The third page opens a chapter with a band of this red.
    const input = { document, pages: [{ first: 3, last: 3 }], dpi: 72 };
    const [page] = await collect(engine.renderPages(input));
    const { data } = await sharp(page?.image).raw().toBuffer({ resolveWithObject: true });
    expect([...data.subarray(0, 3)]).toEqual([0xb0, 0x41, 0x3e]);
    expect([...data.subarray(-3)]).toEqual([0xff, 0xff, 0xff]);
  });

  test("keeps the order of many pages that are encoded side by side", async () => {
    const input = { document, dpi: 20, pages: [{ first: 1, last: 100 }] };
    const images = await collect(engine.renderPages(input));
    expect(images.map(({ page }) => page)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  test("draws at 150 dpi when none is given", async () => {
    const input = { document: threePages, pages: [{ first: 1, last: 1 }] };
    const [image] = await collect(engine.renderPages(input));
    expect(image).toMatchObject({ width: 1240, height: 1754, format: "png" });
  });

  test("lower quality makes smaller files", async () => {
    const size = async (quality: number) => {
      const images = engine.renderPages({ document: threePages, format: "jpeg", quality, dpi: 72 });
      return (await collect(images)).reduce((sum, { image }) => sum + image.length, 0);
    };
    expect(await size(20)).toBeLessThan(await size(95));
  });

  test.each([
    [{ dpi: -1 }, "dpi is -1: it must be above 0"],
    [{ dpi: Number.NaN }, "dpi is NaN: it must be above 0"],
    [{ dpi: Number.POSITIVE_INFINITY }, "dpi is Infinity: it must be above 0"],
    [{ quality: 0 }, "quality is 0: it must be 1 to 100"],
    [{ quality: 101 }, "quality is 101: it must be 1 to 100"],
  ])("refuses %o", async (options, message) => {
    const call = collect(engine.renderPages({ document: threePages, ...options }));
    expect(await errorOf(call)).toMatchObject({ code: Code.InvalidArgument, rawMessage: message });
  });
});

describe("split and merge", () => {
  test("a split document merges to what it was", async () => {
    const progress: number[][] = [];
    const ranges = [
      { first: 1, last: 100 },
      { first: 101, last: 101 },
      { first: 102, last: 0 },
    ];
    const parts = await engine.split(
      { document, ranges },
      { onProgress: (done, total) => progress.push([done, total]) },
    );
    expect(progress).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
    const texts = await extractDirectly(document);
    expect(await Promise.all(parts.map((part) => extractDirectly(part)))).toEqual([
      texts.slice(0, 100),
      texts.slice(100, 101),
      texts.slice(101),
    ]);
    const whole = await engine.merge({ sources: parts.map((part) => ({ document: part })) });
    expect(await extractDirectly(whole)).toEqual(texts);
  });

  test("opens what is encrypted, and gives what is not", async () => {
    const encrypted = { document: fixture("encrypted.pdf"), password: "owner" };
    const [part] = await engine.split({ ...encrypted, ranges: [{ first: 2, last: 2 }] });
    const merged = await engine.merge({ sources: [encrypted, { document: threePages }] });
    const texts = await extractDirectly(threePages);
    expect(await extractDirectly(part as Uint8Array)).toEqual([texts[1]]);
    expect(await extractDirectly(merged)).toEqual([...texts, ...texts]);
  });

  test("without ranges or sources there is nothing to do", async () => {
    expect(await errorOf(engine.split({ document, ranges: [] }))).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: "no page ranges are given: give one for each new document",
    });
    expect(await errorOf(engine.merge({ sources: [] }))).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: "no sources are given: give at least one document",
    });
  });

  test("merge names the source that is wrong", async () => {
    const sources = [{ document: threePages }, { document: fixture("encrypted.pdf") }];
    expect(await errorOf(engine.merge({ sources }))).toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: "source 2 of 2: the document is encrypted: give its password",
    });
  });
});

describe("options", () => {
  test.each([
    [{ threads: 0 }, "option threads is 0: it must be a whole number above 0"],
    [{ maxPixels: 1.5 }, "option maxPixels is 1.5: it must be a whole number above 0"],
  ])("%o is refused", async (options, message) => {
    const start = PdfEngine.start(options);
    expect(await errorOf(start)).toMatchObject({ code: Code.InvalidArgument, rawMessage: message });
  });
});
