import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, type Connection } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createModelWorker, ModelEngine } from "@jetrpc-examples/image-service";
import {
  createImageClient,
  type ImageClient,
  ImageFormat,
  ImageService,
} from "@jetrpc-examples/image-v1-client";
import sharp, { type OverlayOptions } from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bomb, Closing, errorOf, picture, svg } from "./pictures.js";

/** The methods with a model, as an app meets them. */
const closing = new Closing();
let engine: ModelEngine;
let connection: Connection;
let image: ImageClient;

beforeAll(async () => {
  const nats = await startNats();
  closing.defer(() => nats.stop());
  engine = await ModelEngine.start({ devices: ["cpu"], maxPixels: 2_000_000 });
  closing.defer(() => engine.close());
  connection = await connect({ nats: { servers: nats.url } });
  closing.defer(() => connection.close());
  const worker = await serve(ImageService, createModelWorker(engine, 3_000_000), {
    connection,
    logger: false,
  });
  closing.defer(() => worker.drain());
  image = createImageClient(connection);
});

afterAll(() => closing.close());

function fixture(name: string): Buffer {
  return readFileSync(join(import.meta.dirname, "../fixtures", name));
}

/** How many letters must be changed, at least, per letter of the text. */
function errorRate(text: string, read: string): number {
  let previous = Array.from({ length: read.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...text].entries()) {
    const row = [i + 1];
    for (const [j, other] of [...read].entries()) {
      const changed = (previous[j] ?? 0) + (letter === other ? 0 : 1);
      row.push(Math.min((previous[j + 1] ?? 0) + 1, (row[j] ?? 0) + 1, changed));
    }
    previous = row;
  }
  return (previous.at(-1) ?? 0) / text.length;
}

const texts: Record<string, string[]> = JSON.parse(fixture("texts.json").toString());

describe("ReadText", () => {
  // The dictionary of the recognizer lacks the letters ö, ß and some accents.
  test.each([
    ["photo.jpg", 0.02],
    ["scan.jpg", 0.02],
    ["exif-4.jpg", 0.02],
    ["exif-6.jpg", 0.02],
    ["exif-8.jpg", 0.02],
    ["low-contrast.jpg", 0.02],
    ["german.jpg", 0.03],
    ["french.jpg", 0.02],
  ])("%s, with at most %d of its letters wrong", async (name, most) => {
    const text = (texts[name] ?? []).join("\n");
    const lines = [];
    for await (const line of image.readText({ image: fixture(name) })) {
      lines.push(line);
    }
    expect(lines.map(({ line }) => line)).toEqual(lines.map((_, index) => index + 1));
    expect(errorRate(text, lines.map((line) => line.text).join("\n"))).toBeLessThanOrEqual(most);
    for (const { confidence, corners, model } of lines) {
      expect(confidence).toBeGreaterThan(0.7);
      expect(corners).toHaveLength(4);
      expect(corners[1]?.x).toBeGreaterThan(corners[0]?.x as number);
      expect(corners[3]?.y).toBeGreaterThan(corners[0]?.y as number);
      expect(model).toMatchObject({ name: "ch_PP-OCRv4_rec_infer.onnx", device: "cpu" });
    }
  });

  test("of a picture without text gives no line", async () => {
    const blank = await sharp({
      create: { width: 2, height: 320, channels: 3, background: "white" },
    })
      .png()
      .toBuffer();
    for await (const line of image.readText({ image: blank })) {
      expect.unreachable(`line ${line.line}`);
    }
  });

  test("a process that is killed in the middle costs an attempt, and no line", async () => {
    const call = await image.readText.submit({ image: fixture("scan.jpg") });
    const lines: number[] = [];
    for await (const { line } of call) {
      lines.push(line);
      if (line === 2) {
        process.kill(engine.pids[0] as number, "SIGKILL");
      }
    }
    expect(lines).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect((await call.status()).attempts).toHaveLength(2);
  });
});

describe("Upscale", () => {
  async function enlarge(request: { image: Uint8Array; factor?: number; format?: ImageFormat }) {
    const bands: OverlayOptions[] = [];
    let [width, height, next] = [0, 0, 0];
    for await (const band of image.upscale(request)) {
      expect(band.top).toBe(next);
      next += band.height;
      width = band.width;
      height = band.totalHeight;
      bands.push({ input: Buffer.from(band.image), top: band.top, left: 0 });
      expect(band.model).toMatchObject({ device: "cpu" });
    }
    expect(next).toBe(height);
    const create = { width, height, channels: 4, background: "#0000" } as const;
    return sharp({ create }).composite(bands).png().toBuffer();
  }

  test.each([2, 4])(
    "by %i is nearer to the original than bicubic interpolation",
    async (factor) => {
      const size = 160;
      const original = await sharp(fixture("photo.jpg"))
        .extract({ left: 300, top: 200, width: size, height: size })
        .removeAlpha()
        .png()
        .toBuffer();
      const small = await sharp(original)
        .resize(size / factor)
        .png()
        .toBuffer();
      const bicubic = await sharp(small).resize(size, size, { kernel: "cubic" }).png().toBuffer();
      const raw = (file: Buffer) => sharp(file).removeAlpha().raw().toBuffer();
      const wanted = await raw(original);
      const errorOfPixels = async (file: Buffer) => {
        const pixels = await raw(file);
        expect(pixels.length).toBe(wanted.length);
        return wanted.reduce((sum, value, i) => sum + (value - (pixels[i] as number)) ** 2, 0);
      };
      const made = await enlarge({ image: small, factor });
      expect(await errorOfPixels(made)).toBeLessThan(await errorOfPixels(bicubic));
    },
  );

  test("keeps the alpha channel, and turns by EXIF", async () => {
    const clear = await picture(100, 80, 4).png().toBuffer();
    const made = await sharp(await enlarge({ image: clear }))
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(made.info).toMatchObject({ width: 200, height: 160 });
    expect(made.data[4 * (200 * 80 + 10) + 3]).toBeLessThan(40);
    expect(made.data[4 * (200 * 80 + 190) + 3]).toBeGreaterThan(220);
    const turned = await picture(100, 40).withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const large = await sharp(
      await enlarge({ image: turned, format: ImageFormat.JPEG }),
    ).metadata();
    expect(large).toMatchObject({ width: 80, height: 200 });
  });

  test("a process that is killed in the middle costs an attempt, and no band", async () => {
    const file = await picture(100, 400).png().toBuffer();
    const call = await image.upscale.submit({ image: file });
    const tops: number[] = [];
    for await (const { top } of call) {
      tops.push(top);
      if (tops.length === 2) {
        process.kill(engine.pids[0] as number, "SIGKILL");
      }
    }
    expect(tops).toEqual([0, 144, 288, 432, 576, 720]);
    expect((await call.status()).attempts).toHaveLength(2);
  });

  test("a cancelled call stops between tiles, and leaves its process", async () => {
    const file = await picture(700, 700).png().toBuffer();
    const call = await image.upscale.submit({ image: file });
    const { pids } = engine;
    for await (const _ of call) {
      break;
    }
    await call.cancel();
    expect(Code[(await errorOf(collect(image.upscale({ image: file, factor: 3 })))).code]).toBe(
      "InvalidArgument",
    );
    for await (const { line } of image.readText({ image: fixture("scan.jpg") })) {
      expect(line).toBe(1);
      break;
    }
    expect(engine.pids).toEqual(pids);
  });
});

async function collect(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

test.each<[string, () => Uint8Array | Promise<Uint8Array>, Code]>([
  ["garbage", () => Buffer.alloc(5000, "x"), Code.InvalidArgument],
  ["nothing", () => Buffer.alloc(0), Code.InvalidArgument],
  ["a truncated image", () => fixture("scan.jpg").subarray(0, 30_000), Code.InvalidArgument],
  ["a bomb", () => bomb(50_000, 50_000), Code.ResourceExhausted],
  ["an SVG", () => svg, Code.InvalidArgument],
  [
    "an enlargement that is too large",
    () => picture(900, 900).png().toBuffer(),
    Code.ResourceExhausted,
  ],
])("%s ends at once with its Code", async (_name, make, code) => {
  const error = await errorOf(collect(image.upscale({ image: await make() })));
  expect(Code[error.code]).toBe(Code[code]);
});

describe("a process of models", () => {
  test("that hangs costs an attempt: it is Unavailable", async () => {
    await using slow = await ModelEngine.start({ devices: ["cpu"], imageTimeoutMs: 20_000 });
    const [pid] = slow.pids;
    const lines = slow.readText(fixture("scan.jpg"));
    await lines.next();
    process.kill(pid as number, "SIGSTOP");
    const error = await errorOf(collect(lines));
    expect([Code[error.code], error.rawMessage]).toEqual([
      "Unavailable",
      expect.stringContaining("hung for 20000 ms"),
    ]);
    await expect.poll(() => slow.pids[0], { timeout: 60_000 }).not.toBe(pid);
  });

  test("without CUDA, a worker for it does not start, and says what to install", async () => {
    const error = await errorOf(ModelEngine.start({ devices: ["cuda:0"] }));
    expect([Code[error.code], error.rawMessage]).toEqual([
      "FailedPrecondition",
      expect.stringMatching(/no model runs on cuda:0 .*onnxruntime-node.script.install/),
    ]);
  });

  test("whose model file is missing or damaged does not start", async () => {
    const folder = mkdtempSync(join(tmpdir(), "image-models-"));
    try {
      const missing = join(folder, "missing.onnx");
      const absent = await errorOf(ModelEngine.start({ devices: ["cpu"], detector: missing }));
      expect([Code[absent.code], absent.rawMessage]).toEqual([
        "FailedPrecondition",
        expect.stringContaining(`the model file ${missing} cannot be read (ENOENT)`),
      ]);
      const damaged = join(folder, "damaged.onnx");
      writeFileSync(damaged, "no model");
      const broken = await errorOf(ModelEngine.start({ devices: ["cpu"], recognizer: damaged }));
      expect([Code[broken.code], broken.rawMessage]).toEqual([
        "FailedPrecondition",
        expect.stringContaining(`the model file ${damaged} is damaged`),
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
