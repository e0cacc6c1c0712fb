import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, type Connection } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import {
  createModelWorker,
  ModelEngine,
  type ModelEngineOptions,
} from "@jetrpc-examples/image-service";
import {
  createImageClient,
  type ImageClient,
  ImageFormat,
  ImageService,
} from "@jetrpc-examples/image-v1-client";
import sharp, { type OverlayOptions, type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defaultModels } from "../src/model-engine.js";
import { detectorShape } from "../src/read-text.js";
import { bomb, Closing, errorOf, picture, svg } from "./pictures.js";
import { errorRate, fixture } from "./texts.js";

/** The methods with a model, as an app meets them. */
const closing = new Closing();
let engine: ModelEngine;
let connection: Connection;
let image: ImageClient;

beforeAll(async () => {
  const nats = await startNats();
  closing.defer(() => nats.stop());
  engine = await ModelEngine.start({ devices: ["cpu"], maxPixels: 2_100_000 });
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

describe("ReadText", () => {
  async function read(file: Uint8Array) {
    const lines = [];
    for await (const line of image.readText({ image: file })) {
      lines.push(line);
    }
    return lines;
  }

  // The dictionary of the recognizer lacks the letters ö, ß and some accents.
  test.each([
    ["photo.jpg", 0.02],
    ["scan.jpg", 0.02],
    ["german.jpg", 0.03],
    ["french.jpg", 0.02],
    ["real/photo-english.png", 0.02],
    ["real/photo-french.jpg", 0.07],
    ["real/scan-english.png", 0.02],
    ["real/scan-languages.tif", 0.03],
    ["real/low-contrast-english.jpg", 0.08],
  ])("%s, with at most %d of its letters wrong", async (name, most) => {
    const lines = await read(fixture(name));
    expect(lines.map(({ line }) => line)).toEqual(lines.map((_, index) => index + 1));
    expect(errorRate(name, lines.map(({ text }) => text).join("\n"))).toBeLessThanOrEqual(most);
    for (const { text, confidence, corners, model } of lines) {
      expect(confidence > 0.5).toBe(text !== "");
      expect(corners).toHaveLength(4);
      expect(corners[1]?.x).toBeGreaterThan(corners[0]?.x as number);
      expect(corners[3]?.y).toBeGreaterThan(corners[0]?.y as number);
      expect(model).toMatchObject({ name: "ch_PP-OCRv4_rec_infer.onnx", device: "cpu" });
    }
  });

  test.each([
    [4, (upright: Sharp) => upright.flip()],
    [6, (upright: Sharp) => upright.rotate(270)],
    [8, (upright: Sharp) => upright.rotate(90)],
  ])("a photo that lies as EXIF %i says", async (orientation, lay) => {
    const name = "real/photo-english.png";
    const lies = await lay(sharp(fixture(name)))
      .png()
      .toBuffer();
    const file = await sharp(lies).withMetadata({ orientation }).jpeg({ quality: 90 }).toBuffer();
    const lines = await read(file);
    expect(errorRate(name, lines.map(({ text }) => text).join("\n"))).toBeLessThanOrEqual(0.03);
  });

  test.each<[string, () => Sharp]>([
    ["blank", () => sharp({ create: { width: 2, height: 320, channels: 3, background: "white" } })],
    ["1 x 1", () => picture(1, 1)],
    ["1 x 100,000", () => picture(1, 100_000)],
    ["100,000 x 1", () => picture(100_000, 1)],
  ])("of a picture without text, %s, gives no line", async (_name, make) => {
    expect(await read(await make().png().toBuffer())).toEqual([]);
  });

  test.each(["black", "white"])("reads %s letters on nothing", async (color) => {
    const page = sharp(fixture("french.jpg")).greyscale();
    const { width, height } = await page.metadata();
    const letters = await page.negate().raw().toBuffer();
    const file = await sharp({ create: { width, height, channels: 3, background: color } })
      .joinChannel(letters, { raw: { width, height, channels: 1 } })
      .png()
      .toBuffer();
    const lines = await read(file);
    expect(errorRate("french.jpg", lines.map(({ text }) => text).join("\n"))).toBeLessThan(0.05);
  });

  test("reads a page that lies on its side, its first line first", async () => {
    const name = "real/photo-english.png";
    const lines = await read(await sharp(fixture(name)).rotate(90).png().toBuffer());
    expect(errorRate(name, lines.map(({ text }) => text).join("\n"))).toBeLessThanOrEqual(0.03);
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

  test.each<[string, (red: Sharp) => Sharp]>([
    ["CMYK", (red) => red.toColourspace("cmyk").jpeg()],
    ["16 bit", (red) => red.toColourspace("rgb16").png()],
    ["Lab", (red) => red.toColourspace("lab").tiff()],
  ])("keeps the colours of %s", async (_name, make) => {
    const create = { width: 30, height: 20, channels: 3, background: "#c03020" } as const;
    const made = await sharp(await enlarge({ image: await make(sharp({ create })).toBuffer() }))
      .removeAlpha()
      .stats();
    for (const [i, wanted] of [0xc0, 0x30, 0x20].entries()) {
      expect(Math.abs((made.channels[i]?.mean ?? 0) - wanted)).toBeLessThan(26);
    }
  });

  test("too wide for its format is refused before the work", async () => {
    const wide = await picture(20_000, 1).png().toBuffer();
    const error = await errorOf(collect(image.upscale({ image: wide, format: ImageFormat.WEBP })));
    expect([Code[error.code], error.rawMessage]).toEqual([
      "ResourceExhausted",
      expect.stringContaining("16383 on each side"),
    ]);
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

test.each([
  [
    [995, 641],
    [1024, 672],
    [1280, 960],
  ],
  [
    [3000, 2000],
    [1600, 1088],
    [1600, 1216],
  ],
  [
    [1, 100_000],
    [32, 1600],
    [1216, 1600],
  ],
])("a detector gets %j as %j on a CPU, as %j on a GPU", ([width = 0, height = 0], cpu, gpu) => {
  expect(detectorShape({ width, height }, false)).toEqual(cpu);
  expect(detectorShape({ width, height }, true)).toEqual(gpu);
});

describe("a process of models", () => {
  test("that hangs costs an attempt: it is Unavailable", async () => {
    await using slow = await ModelEngine.start({ devices: ["cpu"], imageTimeoutMs: 5_000 });
    const [pid] = slow.pids;
    const lines = slow.readText(fixture("scan.jpg"));
    await lines.next();
    process.kill(pid as number, "SIGSTOP");
    const error = await errorOf(collect(lines));
    expect([Code[error.code], error.rawMessage]).toEqual([
      "Unavailable",
      expect.stringContaining("hung for 5000 ms"),
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

  const { detector, recognizer } = defaultModels;
  const built = (name: string) => join(import.meta.dirname, "../dist/models", name);
  const upscalers = { 2: built("esrgan-slim-2x.onnx"), 4: built("esrgan-slim-4x.onnx") };
  const folder = mkdtempSync(join(tmpdir(), "image-models-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const written = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };

  test.each<[string, () => ModelEngineOptions, RegExp]>([
    [
      "is missing",
      () => ({ detector: join(folder, "none") }),
      /model file .*none cannot be read .ENOENT/,
    ],
    ["is empty", () => ({ recognizer: written("empty", "") }), /model file .*empty is damaged/],
    [
      "is truncated",
      () => ({ recognizer: written("half", readFileSync(recognizer).subarray(0, 5_000_000)) }),
      /model file .*half is damaged/,
    ],
    ["is none", () => ({ upscalers: { ...upscalers, 4: written("text", "no model") } }), /damaged/],
    ["is a folder", () => ({ detector: folder }), /damaged/],
    ["is the detector as recognizer", () => ({ recognizer: detector }), /does not fit/],
    ["is the recognizer as detector", () => ({ detector: recognizer }), /does not fit/],
    [
      "enlarges by 2 and not by 4",
      () => ({ upscalers: { 2: upscalers[2], 4: upscalers[2] } }),
      /192 x 192 .* not 1 x 3 x 384/,
    ],
    [
      "has another dictionary",
      () => ({ dictionary: written("letters", "a\nb\n") }),
      /dictionary that belongs/,
    ],
    [
      "has no dictionary",
      () => ({ dictionary: join(folder, "none") }),
      /dictionary .*none cannot be read/,
    ],
  ])("whose model file %s does not start", async (_name, options, text) => {
    const error = await errorOf(ModelEngine.start({ devices: ["cpu"], ...options() }));
    expect([Code[error.code], error.rawMessage]).toEqual([
      "FailedPrecondition",
      expect.stringMatching(text),
    ]);
  });
});
