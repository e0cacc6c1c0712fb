import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { PdfEngine } from "@jetrpc-examples/pdf-service";
import { expect, test } from "vitest";
import { collect, errorOf, fixture } from "./fixture.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const mebibyte = 1024 * 1024;
const demo = { document: fixture("demo.pdf") };

/** The least memory of the process within half a minute: what ends frees it later, on a busy machine much later. */
async function residentBytes(below: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < (below > 0 ? 300 : 30) && least > below; i++) {
    await delay(100);
    collectGarbage();
    least = Math.min(least, process.memoryUsage.rss());
  }
  return least;
}

async function expectSameMemory(before: number, use: () => Promise<void>, tolerance: number) {
  await use();
  const limit = before + tolerance;
  expect(await residentBytes(limit)).toBeLessThan(limit);
}

test("memory comes back to where it was", { timeout: 900_000 }, async () => {
  await using engine = await PdfEngine.start({ threads: 2 });
  const render = (dpi: number, last: number) =>
    collect(engine.renderPages({ ...demo, dpi, pages: [{ first: 1, last }] }));
  // All that is loaded once is there after the first calls.
  await Promise.all([render(150, 20), render(150, 20), collect(engine.extractText(demo))]);
  const before = await residentBytes(0);

  const bad = ["encrypted.pdf", "truncated.pdf", "garbage.pdf", "missing-page.pdf", "crash.pdf"];
  await expectSameMemory(
    before,
    async () => {
      for (let i = 0; i < 50; i++) {
        const document = fixture(bad[i % bad.length] as string);
        await errorOf(collect(engine.extractText({ document })));
      }
    },
    64 * mebibyte,
  );

  // 20 MB that are no PDF, 50 times: 1 GB if any of it stayed.
  const large = new Uint8Array(20_000_000).fill(0x20);
  await expectSameMemory(
    before,
    async () => {
      for (let i = 0; i < 50; i++) {
        await errorOf(engine.getInfo({ document: large }));
      }
    },
    128 * mebibyte,
  );

  // A gigabyte of WebAssembly memory, and the thread with it.
  await expectSameMemory(
    before,
    async () => {
      const document = fixture("memory-bomb.pdf");
      await errorOf(collect(engine.extractText({ document })));
    },
    128 * mebibyte,
  );

  // 60 million pixels a page: 180 MB each as they are drawn.
  await expectSameMemory(
    before,
    async () => {
      await render(800, 4);
    },
    192 * mebibyte,
  );
});
