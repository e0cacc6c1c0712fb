import { availableParallelism } from "node:os";
import { Code } from "@jetrpc/runtime";
import { expect, test } from "vitest";
import { readSettings } from "../src/settings.js";

test("without variables, there are as many calls at once as cores", () => {
  expect(readSettings({})).toEqual({ concurrency: availableParallelism() });
});

test("each variable is an option", () => {
  const environment = {
    PDF_CONCURRENCY: "9",
    PDF_THREADS: "3",
    PDF_MAX_PIXELS: "1000000",
    PDF_MAX_RESULT_BYTES: "2000000",
    PDF_PAGE_TIMEOUT_MS: "5000",
    PDF_MAX_MEMORY_BYTES: "300000000",
    PDF_KEEP_MEMORY_BYTES: "100000000",
  };
  expect(readSettings(environment)).toEqual({
    concurrency: 9,
    threads: 3,
    maxPixels: 1_000_000,
    maxResultBytes: 2_000_000,
    pageTimeoutMs: 5000,
    maxMemoryBytes: 300_000_000,
    keepMemoryBytes: 100_000_000,
  });
});

test.each(["0", "-1", "1.5", "many", "NaN"])("PDF_THREADS=%s is refused", (value) => {
  expect(() => readSettings({ PDF_THREADS: value })).toThrow(
    expect.objectContaining({
      code: Code.InvalidArgument,
      rawMessage: `PDF_THREADS is "${value}": it must be a whole number above 0`,
    }),
  );
});
