import { setTimeout as delay } from "node:timers/promises";
import { Code } from "@jetrpc/runtime";
import { PdfEngine } from "@jetrpc-examples/pdf-service";
import { describe, expect, test } from "vitest";
import { collect, errorOf, fixture } from "./fixture.js";

const demo = { document: fixture("demo.pdf") };
const threePages = { document: fixture("three-pages.pdf") };
const hang = { document: fixture("hang-renderer.pdf") };

/** Longer than any test: what waits for it fails. */
const never = 600_000;

describe("a hostile document ends its own call only", () => {
  test.each([
    [
      "that crashes the parser",
      "crash.pdf",
      never,
      Code.InvalidArgument,
      "the document crashed the PDF parser",
    ],
    [
      "that takes all memory",
      "memory-bomb.pdf",
      never,
      Code.ResourceExhausted,
      "the document needs more than",
    ],
    [
      "that hangs the parser",
      "hang-parser.pdf",
      1000,
      Code.ResourceExhausted,
      "page 1 takes longer than 1000 ms",
    ],
  ])("one %s", async (_what, file, pageTimeoutMs, code, text) => {
    const options = { threads: 2, pageTimeoutMs, maxMemoryBytes: 256 * 1024 * 1024 };
    await using engine = await PdfEngine.start(options);
    const other = collect(engine.extractText(demo));
    const errors = [];
    for (let i = 0; i < 3; i++) {
      errors.push(await errorOf(collect(engine.extractText({ document: fixture(file) }))));
    }
    expect(await other).toHaveLength(314);
    for (const error of errors) {
      expect(error).toMatchObject({ code, rawMessage: expect.stringContaining(text) });
    }
    // All threads are there again.
    const after = Array.from({ length: 4 }, () => collect(engine.extractText(threePages)));
    expect((await Promise.all(after)).map((pages) => pages.length)).toEqual([3, 3, 3, 3]);
  });

  test("one that hangs the renderer", async () => {
    await using engine = await PdfEngine.start({ threads: 1, pageTimeoutMs: 1000 });
    expect(await errorOf(collect(engine.renderPages(hang)))).toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage:
        "page 1 takes longer than 1000 ms, which is all that this worker grants: simplify it",
    });
    expect(await collect(engine.extractText(threePages))).toHaveLength(3);
  });
});

describe("the event loop", () => {
  test("turns while a thread is busy with one page", async () => {
    await using engine = await PdfEngine.start({ threads: 1, pageTimeoutMs: never });
    const turned = new AbortController();
    let ticks = 0;
    const ticking = setInterval(() => ++ticks === 50 && turned.abort(reason), 10);
    // If PDFium ran here, nothing would count, and the call would never end.
    const pages = collect(engine.renderPages(hang, { signal: turned.signal }));
    await expect(pages).rejects.toBe(reason);
    clearInterval(ticking);
  });
});

const reason = new Error("changed my mind");

describe("a signal", () => {
  test("ends a call that hangs at once, and its thread serves others", async () => {
    await using engine = await PdfEngine.start({ threads: 1, pageTimeoutMs: never });
    const controller = new AbortController();
    const pages = engine.renderPages(hang, { signal: controller.signal });
    const first = pages.next();
    await delay(200);
    controller.abort(reason);
    await expect(first).rejects.toBe(reason);
    expect(await engine.getInfo(threePages)).toMatchObject({ pageCount: 3 });
  });

  test("ends a call that waits for a thread", async () => {
    await using engine = await PdfEngine.start({ threads: 1, pageTimeoutMs: never });
    const blocker = collect(engine.renderPages(hang));
    blocker.catch(() => undefined);
    await delay(200);
    const controller = new AbortController();
    const call = engine.getInfo(threePages, { signal: controller.signal });
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
  });

  test("ends a call between two pages", async () => {
    await using engine = await PdfEngine.start({ threads: 1 });
    const controller = new AbortController();
    const seen: number[] = [];
    const call = async () => {
      for await (const { page } of engine.extractText(demo, { signal: controller.signal })) {
        seen.push(page);
        if (page === 7) {
          controller.abort(reason);
        }
      }
    };
    await expect(call()).rejects.toBe(reason);
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test("that fired before is seen", async () => {
    await using engine = await PdfEngine.start({ threads: 1 });
    const signal = AbortSignal.abort(reason);
    await expect(engine.getInfo(threePages, { signal })).rejects.toBe(reason);
    await expect(collect(engine.extractText(threePages, { signal }))).rejects.toBe(reason);
  });
});

describe("threads", () => {
  test("are free again when a consumer leaves", async () => {
    await using engine = await PdfEngine.start({ threads: 1, sliceMs: never });
    for (let i = 0; i < 5; i++) {
      for await (const { page } of engine.renderPages(demo)) {
        expect(page).toBe(1);
        break;
      }
    }
    expect(await engine.getInfo(threePages)).toMatchObject({ pageCount: 3 });
  });

  test("are shared: a quick call need not wait for the end of a long one", async () => {
    await using engine = await PdfEngine.start({ threads: 1, sliceMs: 100 });
    const hours = { ...demo, pages: Array.from({ length: 1000 }, () => ({ first: 1, last: 0 })) };
    const controller = new AbortController();
    const long = collect(engine.extractText(hours, { signal: controller.signal }));
    long.catch(() => undefined);
    expect(await engine.getInfo(threePages)).toMatchObject({ pageCount: 3 });
    controller.abort(reason);
    await expect(long).rejects.toBe(reason);
  });

  test("that go around lose no page and give none twice", async () => {
    await using engine = await PdfEngine.start({ threads: 1, sliceMs: 50 });
    const calls = Array.from({ length: 4 }, () => collect(engine.extractText(demo)));
    const [first, ...others] = await Promise.all(calls);
    expect(first?.map(({ page }) => page)).toEqual(Array.from({ length: 314 }, (_, i) => i + 1));
    for (const other of others) {
      expect(other).toEqual(first);
    }
  });

  test("do not run ahead of the consumer, and serve others meanwhile", async () => {
    await using engine = await PdfEngine.start({
      threads: 1,
      pageTimeoutMs: never,
      sliceMs: never,
    });
    const [calm] = await engine.split({ ...demo, ranges: [{ first: 1, last: 40 }] });
    const document = await engine.merge({
      sources: [{ document: calm as Uint8Array }, { document: fixture("hang-parser.pdf") }],
    });
    const pages = engine.extractText({ document });
    await pages.next();
    await delay(1000);
    // Were the thread at page 41 by now, it would be at it for ever.
    expect(await engine.getInfo(threePages)).toMatchObject({ pageCount: 3 });
    for (let page = 2; page < 40; page++) {
      await pages.next();
    }
    expect(await pages.next()).toMatchObject({ value: { page: 40 } });
  });
});

describe("close", () => {
  test("ends what runs and what waits, and all that comes later", async () => {
    const engine = await PdfEngine.start({ threads: 1, pageTimeoutMs: never });
    const calls = [hang, threePages].map((input) => errorOf(collect(engine.renderPages(input))));
    await delay(200);
    await engine.close();
    const late = errorOf(engine.getInfo(threePages));
    for (const error of await Promise.all([...calls, late])) {
      expect(error).toMatchObject({
        code: Code.Unavailable,
        rawMessage: "the PDF engine is closed",
      });
    }
  });
});
