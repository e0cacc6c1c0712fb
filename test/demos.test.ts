import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PdfEngine } from "@jetrpc-examples/pdf-service";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type ReadPage, searchablePdf } from "../examples/scan/searchable-pdf.js";
import type { Finished } from "./run.js";

// Each starts processes with models, and on a busy machine a page takes them half a minute.
vi.setConfig({ testTimeout: 900_000 });

/** `npm run demo:image` and `npm run example:scan`, as a user runs them. */
const top = join(import.meta.dirname, "..");
const fixtures = join(top, "services/image/fixtures");
const texts: Record<string, string[]> = JSON.parse(readText(join(fixtures, "texts.json")));
let folder: string;
let engine: PdfEngine;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "jetrpc-demos-"));
  engine = await PdfEngine.start({ threads: 1 });
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await engine.close();
});

function npmRun(
  script: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  return new Promise((resolve) => {
    execFile(
      "npm",
      ["run", "--silent", script, "--", ...args],
      // On a busy machine a line of text takes long, and a model that does not hang seems to.
      { cwd: top, env: { ...process.env, IMAGE_TIMEOUT_MS: "600000", ...env } },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

function readText(path: string): string {
  return readFileSync(path, "utf8");
}

/** Letters and digits: the models read blanks and accents as they please. */
function letters(text: string): string {
  return text.normalize("NFD").replace(/[^a-zA-Z0-9]/g, "");
}

test("npm run example:scan makes a scan searchable, while a worker of each service is killed", async () => {
  const { code, stdout, stderr } = await npmRun("example:scan");
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toContain("the worker that draws was killed at page 1");
  expect(stdout).toContain("the worker that reads was killed at line 2 of page 2");
  // Both were in the middle, or no other attempt would have been needed.
  expect(stdout).toMatch(/page 2: 7 lines, attempts: 2$/m);
  expect(stdout).toMatch(/^4 of 4 pages, drawn in 2 attempts$/m);
  // Progress of both, up to the last page that was read.
  expect(stdout).toMatch(/█░.* of 8 steps/);
  expect(stdout).toMatch(/█ 8 of 8 steps/);

  const names = ["scan.jpg", "german.jpg", "photo.jpg", "french.jpg"];
  const pages = readText(join(top, "out/scan.txt")).trim().split("\n\n");
  expect(pages.map((page) => page.split("\n").length)).toEqual([7, 7, 7, 7]);
  for (const [index, name] of names.entries()) {
    const [first = "", ...rest] = texts[name] ?? [];
    expect(letters(pages[index] ?? "").startsWith(letters(first))).toBe(true);
    expect(letters(pages[index] ?? "").endsWith(letters(rest.at(-1) ?? "-"))).toBe(true);
  }

  // The text lies over the pictures: it is found where it is seen, and it is not seen itself.
  const document = readFileSync(join(top, "out/scan.pdf"));
  const found: string[] = [];
  for await (const { text } of engine.extractText({ document })) {
    found.push(letters(text));
  }
  expect(found).toEqual(pages.map(letters));
  const pictures: ReadPage[] = [];
  const scan = readFileSync(join(fixtures, "scan.pdf"));
  const options = { dpi: 150, format: "jpeg", quality: 90 } as const;
  for await (const picture of engine.renderPages({ document: scan, ...options })) {
    pictures.push({ picture, lines: [] });
  }
  const withoutText = await searchablePdf(pictures, 150);
  expect((await pixelsOf(document)).equals(await pixelsOf(withoutText))).toBe(true);
});

/** Of the first page. */
async function pixelsOf(document: Uint8Array): Promise<Buffer> {
  for await (const { image } of engine.renderPages({ document, dpi: 150 })) {
    return sharp(image).raw().toBuffer();
  }
  throw new Error("the document has no page");
}

test("npm run demo:image writes a thumbnail, the text and an enlargement", async () => {
  const { code, stdout, stderr } = await npmRun("demo:image");
  expect(code, stdout + stderr).toBe(0);
  // Nothing but the device and why: onnxruntime is silent about a GPU that is not there.
  expect(stderr).toMatch(/^models run on [^\n]*\n$/);
  expect(stdout).toContain("In out/: thumbnail.webp, text.txt, enlarged.png");
  // Two workers serve one contract, and tell the device that the models took.
  expect(stdout).toMatch(/^ {2}0\.1\.0 +GetInfo, Thumbnail, Convert$/m);
  expect(stdout).toMatch(/^ {2}0\.1\.0\+(?:cpu|cuda\.\d) +ReadText, Upscale$/m);
  expect(stdout).toMatch(/█░.* of 516 rows/);
  expect(stdout).toMatch(/█ 516 of 516 rows/);
  const lines = texts["photo.jpg"] ?? [];
  const read = readText(join(top, "out/text.txt"));
  expect(letters(read)).toBe(letters(lines.join("")));
  for (const line of read.trim().split("\n")) {
    expect(stdout).toContain(` %  ${line}\n`);
  }
  const size = async (name: string) => {
    const { width, height } = await sharp(join(top, "out", name)).metadata();
    return [width, height];
  };
  expect(await size("thumbnail.webp")).toEqual([256, 165]);
  expect(await size("enlarged.png")).toEqual([800, 516]);
});

test.each([
  ["a file that is missing", "nowhere.bin", "ENOENT: no such file"],
  ["a file that cannot be read", ".", "EISDIR"],
])("%s is named, and the exit code is 1", async (_, name, text) => {
  for (const script of ["demo:image", "example:scan"]) {
    const { code, stdout, stderr } = await npmRun(script, [join(folder, name)]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(`^${text}.*\n$`) });
    expect(stdout).not.toContain("worker");
  }
});

test("a worker that does not start says why, and the demo ends without a stack", async () => {
  const missing = join(folder, "nowhere.onnx");
  const { code, stderr } = await npmRun("demo:image", [], { IMAGE_DETECTOR: missing });
  expect(code).toBe(1);
  expect(stderr.trimEnd().split("\n")).toEqual([
    expect.stringMatching(/^\[failed_precondition\] the model file .*nowhere\.onnx cannot be read/),
    "[failed_precondition] the worker of services/image ended with code 1 before it was ready: it says why above",
  ]);
});

test.each([
  ["demo:image", "scan.pdf"],
  ["example:scan", "photo.jpg"],
])("npm run %s refuses %s, and the exit code is 1", async (script, name) => {
  const { code, stderr } = await npmRun(script, [join(fixtures, name)]);
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^\[invalid_argument\] .*\n$/),
  });
});
