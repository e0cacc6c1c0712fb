import { blobOf, Code, type Connection, openBlob } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createPixelWorker, PixelEngine } from "@jetrpc-examples/image-service";
import {
  createImageClient,
  Fit,
  type ImageClient,
  ImageFormat,
  ImageService,
} from "@jetrpc-examples/image-v1-client";
import sharp, { type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { animation, bomb, Closing, errorOf, picture, svg } from "./pictures.js";

/** The methods without a model, as an app meets them. */
const limits = { maxPixels: 2_000_000, maxBytes: 3_000_000, maxFrames: 60 };
const stack = new Closing();
let engine: PixelEngine;
let connection: Connection;
let image: ImageClient;
let jpeg: Uint8Array;

beforeAll(async () => {
  const nats = await startNats();
  stack.defer(() => nats.stop());
  engine = await PixelEngine.start({ processes: 2, ...limits });
  stack.defer(() => engine.close());
  connection = await connect({ nats: { servers: nats.url } });
  stack.defer(() => connection.close());
  const worker = await serve(ImageService, createPixelWorker(engine, limits.maxBytes), {
    connection,
    concurrency: 2,
    logger: false,
  });
  stack.defer(() => worker.drain());
  image = createImageClient(connection);
  jpeg = await picture(320, 200)
    .jpeg()
    .withExif({ IFD0: { Copyright: "jetrpc" } })
    .toBuffer();
});

afterAll(() => stack.close());

describe("GetInfo", () => {
  test("tells what an image is", async () => {
    const info = await image.getInfo({ image: jpeg });
    expect(info).toMatchObject({
      format: ImageFormat.JPEG,
      width: 320,
      height: 200,
      frames: 1,
      colorSpace: "srgb",
      hasAlpha: false,
      bitDepth: 8,
      density: 0,
    });
    expect(info.exif).toHaveLength(0);
  });

  test("gives EXIF, profile, density and orientation", async () => {
    const file = await picture(40, 20)
      .withMetadata({ orientation: 6, density: 300 })
      .withIccProfile("p3")
      .jpeg()
      .toBuffer();
    const info = await image.getInfo({ image: file, includeExif: true });
    expect(info).toMatchObject({ orientation: 6, width: 20, height: 40, density: 300 });
    expect(info.profile).toMatch(/P3/i);
    expect(Buffer.from(info.exif).toString("latin1")).toContain("Exif");
  });

  test.each([
    ["CMYK", () => picture(30, 20).toColourspace("cmyk").jpeg().toBuffer(), "cmyk", 8],
    ["16 bit", () => picture(30, 20).toColourspace("rgb16").png().toBuffer(), "rgb16", 16],
  ])("reads %s", async (_name, make, colorSpace, bitDepth) => {
    const file = await make();
    expect(await image.getInfo({ image: file })).toMatchObject({ colorSpace, bitDepth });
    const { image: made } = await image.convert({ image: file, format: ImageFormat.PNG });
    expect(await sharp(made).metadata()).toMatchObject({ space: "srgb", width: 30 });
  });
});

describe("Thumbnail", () => {
  test("of a large and of a small image", async () => {
    const large = await image.thumbnail({ image: jpeg, size: 100 });
    expect(large).toMatchObject({ width: 100, height: 63, format: ImageFormat.WEBP });
    expect((await sharp(large.image).metadata()).format).toBe("webp");
    const small = await image.thumbnail({ image: jpeg, size: 2000, format: ImageFormat.PNG });
    expect(small).toMatchObject({ width: 320, height: 200, format: ImageFormat.PNG });
  });

  test("of 1 x 100,000 pixels", async () => {
    const thin = await picture(1, 100_000).png().toBuffer();
    expect(await image.thumbnail({ image: thin })).toMatchObject({ width: 1, height: 256 });
  });

  test("of an animated image shows its first frame", async () => {
    const made = await image.thumbnail({ image: await animation(100) });
    expect(await sharp(made.image).metadata()).toMatchObject({ width: 16, height: 16 });
  });
});

describe("Convert", () => {
  test.each([
    ["JPEG", ImageFormat.JPEG, "jpeg"],
    ["PNG", ImageFormat.PNG, "png"],
    ["WebP", ImageFormat.WEBP, "webp"],
    ["GIF", ImageFormat.GIF, "gif"],
    ["AVIF", ImageFormat.AVIF, "heif"],
    ["TIFF", ImageFormat.TIFF, "tiff"],
  ])("into %s, and from there into PNG", async (_name, format, name) => {
    const made = await image.convert({ image: jpeg, format, width: 64 });
    expect(made).toMatchObject({ format, width: 64, height: 40, frames: 1 });
    expect(await sharp(made.image).metadata()).toMatchObject({ format: name, width: 64 });
    const back = await image.convert({ image: made.image, format: ImageFormat.PNG });
    expect(back).toMatchObject({ format: ImageFormat.PNG, width: 64, height: 40 });
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])("turns by EXIF orientation %i", async (orientation) => {
    // Red is at the left, and blue at the right, when the image is upright.
    const data = Buffer.alloc(40 * 20 * 3);
    for (let i = 0; i < 800; i++) {
      data[3 * i + (i % 40 < 20 ? 0 : 2)] = 255;
    }
    const upright = sharp(data, { raw: { width: 40, height: 20, channels: 3 } });
    const png = async (made: Sharp) => sharp(await made.png().toBuffer());
    const quarter = await png(upright.clone().rotate(90));
    const lies: Record<number, Sharp> = {
      1: upright,
      2: upright.clone().flop(),
      3: upright.clone().rotate(180),
      4: upright.clone().flip(),
      5: quarter.clone().flop(),
      6: upright.clone().rotate(270),
      7: quarter.clone().flip(),
      8: quarter,
    };
    const turned = await png(lies[orientation] as Sharp);
    const file = await turned.withMetadata({ orientation }).jpeg().toBuffer();
    const made = await image.convert({ image: file, format: ImageFormat.PNG });
    expect(made).toMatchObject({ width: 40, height: 20 });
    const { data: pixels } = await sharp(made.image).raw().toBuffer({ resolveWithObject: true });
    const at = (x: number) => [...pixels.subarray((10 * 40 + x) * 3, (10 * 40 + x) * 3 + 3)];
    expect(at(5)[0]).toBeGreaterThan(200);
    expect(at(35)[2]).toBeGreaterThan(200);
    const raw = await image.convert({ image: file, ignoreOrientation: true });
    expect(raw.width).toBe(orientation >= 5 ? 20 : 40);
  });

  test.each([
    [Fit.INSIDE, 100, 63],
    [Fit.COVER, 100, 100],
    [Fit.CONTAIN, 100, 100],
    [Fit.FILL, 100, 100],
  ])("fit %i into 100 x 100", async (fit, width, height) => {
    const made = await image.convert({ image: jpeg, width: 100, height: 100, fit });
    expect(made).toMatchObject({ width, height });
    expect(await sharp(made.image).metadata()).toMatchObject({ width, height });
  });

  test("takes a part, and never makes it larger", async () => {
    const crop = { left: 10, top: 20, width: 50, height: 30 };
    const made = await image.convert({ image: jpeg, crop, width: 500, format: ImageFormat.PNG });
    expect(made).toMatchObject({ width: 50, height: 30 });
    const expected = await sharp(jpeg).extract(crop).raw().toBuffer();
    expect(Buffer.compare(await sharp(made.image).raw().toBuffer(), expected)).toBe(0);
  });

  test("leaves metadata out, unless they are wanted", async () => {
    const { exif } = await sharp((await image.convert({ image: jpeg })).image).metadata();
    expect(exif).toBeUndefined();
    const kept = await image.convert({ image: jpeg, keepMetadata: true });
    expect((await sharp(kept.image).metadata()).exif?.toString("latin1")).toContain("jetrpc");
  });

  test("an animated image stays animated, where the format can", async () => {
    const file = await animation(12);
    const moved = await image.convert({ image: file, format: ImageFormat.WEBP, width: 8 });
    expect(moved).toMatchObject({ frames: 12, width: 8, height: 8 });
    expect(await sharp(moved.image).metadata()).toMatchObject({ pages: 12, width: 8 });
    const still = await image.convert({ image: file, format: ImageFormat.PNG });
    expect(still).toMatchObject({ frames: 1, width: 16, height: 16 });
  });

  test("a Blob in, whatever its file is called, and a Blob out above 4 MB", async () => {
    const noise = Buffer.alloc(1400 * 1000 * 3);
    for (let i = 0, value = 1; i < noise.length; i++) {
      value = (value * 48_271) % 2_147_483_647;
      noise[i] = value;
    }
    const file = await sharp(noise, { raw: { width: 1400, height: 1000, channels: 3 } })
      .jpeg({ quality: 90 })
      .toBuffer();
    expect(file.length).toBeLessThan(limits.maxBytes);
    const made = await image.convert({
      file: blobOf(file, { fileName: "wrong.gif", contentType: "image/gif" }),
      format: ImageFormat.PNG,
    });
    expect(made.image).toHaveLength(0);
    expect(made.file?.contentType).toBe("image/png");
    const chunks: Uint8Array[] = [];
    for await (const chunk of openBlob(made.file)) {
      chunks.push(chunk);
    }
    expect(await sharp(Buffer.concat(chunks)).metadata()).toMatchObject({ width: 1400 });
  });
});

describe("bad input ends at once with its Code, and the worker goes on", () => {
  const whole = async () => await picture(320, 200).jpeg().toBuffer();
  const files: [string, () => Uint8Array | Promise<Uint8Array>, Code, RegExp][] = [
    [
      "truncated JPEG",
      async () => (await whole()).subarray(0, 3000),
      Code.InvalidArgument,
      /damaged/,
    ],
    [
      "truncated PNG",
      async () => (await picture(99, 99).png().toBuffer()).subarray(0, 5000),
      Code.InvalidArgument,
      /damaged/,
    ],
    ["garbage", () => Buffer.alloc(5000, "garbage"), Code.InvalidArgument, /cannot be read/],
    ["nothing", () => Buffer.alloc(0), Code.InvalidArgument, /empty/],
    ["a bomb", () => bomb(50_000, 50_000), Code.ResourceExhausted, /2,500,000,000 pixels/],
    ["an SVG with a filter", () => svg, Code.InvalidArgument, /an SVG/],
    ["a PDF", () => Buffer.from("%PDF-1.7\n"), Code.InvalidArgument, /a PDF/],
    ["too many bytes", () => Buffer.alloc(3_000_001), Code.ResourceExhausted, /3000001 bytes/],
    ["1,000 frames", () => animation(1000), Code.ResourceExhausted, /1000 frames/],
  ];

  test.each(files)("%s", async (_name, make, code, text) => {
    const pids = engine.pids;
    const file = await make();
    const error = await errorOf(image.convert({ image: file, width: 50 }));
    expect([Code[error.code], error.rawMessage]).toEqual([Code[code], expect.stringMatching(text)]);
    expect(engine.pids).toEqual(pids);
    expect(await image.getInfo({ image: jpeg })).toMatchObject({ width: 320 });
  });

  test.each([
    ["a negative width", { width: -1 }],
    ["a huge height", { height: 2 ** 31 - 1 }],
    ["quality 101", { quality: 101 }],
    ["a fit that is not known", { fit: 99 }],
    ["a format that is not known", { format: 99 }],
    ["a crop beyond the image", { crop: { left: 300, top: 0, width: 21, height: 1 } }],
    ["an empty crop", { crop: { left: 0, top: 0, width: 0, height: 1 } }],
    ["a crop that overflows", { crop: { left: 1_000_000, top: 0, width: 1_000_000, height: 1 } }],
    ["two images", { file: blobOf(new Uint8Array(1)) }],
  ])("%s is InvalidArgument", async (_name, options) => {
    const error = await errorOf(image.convert({ image: jpeg, ...options }));
    expect(Code[error.code]).toBe("InvalidArgument");
  });

  test("a width that is NaN does not leave the client", async () => {
    const error = await errorOf(image.convert({ image: jpeg, width: Number.NaN }));
    expect(error.message).toMatch(/width|int32/);
  });

  test("a direct method ends the same way", async () => {
    const error = await errorOf(image.getInfo({ image: Buffer.alloc(100, "x") }));
    expect(Code[error.code]).toBe("InvalidArgument");
    const large = await errorOf(image.thumbnail({ image: bomb(50_000, 50_000) }));
    expect(Code[large.code]).toBe("ResourceExhausted");
  });

  test("a result beyond the sides of its format", async () => {
    const thin = await picture(1, 100_000).png().toBuffer();
    const error = await errorOf(image.convert({ image: thin, format: ImageFormat.WEBP }));
    expect([Code[error.code], error.rawMessage]).toEqual([
      "ResourceExhausted",
      expect.stringContaining("16383 on each side"),
    ]);
  });
});

describe("a process that is lost", () => {
  test("while it converts costs one attempt", async () => {
    const file = await picture(1400, 1400).jpeg().toBuffer();
    const call = await image.convert.submit({ image: file, format: ImageFormat.AVIF, quality: 90 });
    for await (const report of call.progress()) {
      if (report.done === 0) {
        break;
      }
    }
    for (const pid of engine.pids) {
      process.kill(pid, "SIGKILL");
    }
    expect(await call.result()).toMatchObject({ width: 1400 });
    const { attempts } = await call.status();
    expect(attempts).toHaveLength(2);
    expect(attempts[0]?.error?.rawMessage).toContain("a process was lost (SIGKILL)");
  });

  test("when idle is replaced", async () => {
    const [pid] = engine.pids;
    process.kill(pid as number, "SIGKILL");
    await expect.poll(() => engine.pids).not.toContain(pid);
    expect(await image.getInfo({ image: jpeg })).toMatchObject({ width: 320 });
  });

  test("because it hangs ends the call as ResourceExhausted", async () => {
    await using slow = await PixelEngine.start({ processes: 1, imageTimeoutMs: 200 });
    const [pid] = slow.pids;
    process.kill(pid as number, "SIGSTOP");
    const error = await errorOf(slow.info(jpeg, false));
    expect([Code[error.code], error.rawMessage]).toEqual([
      "ResourceExhausted",
      expect.stringContaining("takes longer than 200 ms"),
    ]);
    await expect.poll(() => slow.pids[0]).not.toBe(pid);
  });

  test.skipIf(process.platform !== "linux")("is not one that gets no CPU for a while", async () => {
    await using slow = await PixelEngine.start({ processes: 1, imageTimeoutMs: 2_000 });
    const [pid] = slow.pids;
    process.kill(pid as number, "SIGSTOP");
    const info = slow.info(jpeg, false);
    // Longer than the limit, and less than four times as long.
    setTimeout(() => process.kill(pid as number, "SIGCONT"), 2_500);
    expect(await info).toMatchObject({ width: 320 });
    expect(slow.pids).toEqual([pid]);
  });

  test("because it takes too much memory ends the call as ResourceExhausted", async () => {
    const create = { width: 6000, height: 4000, channels: 3, background: "teal" } as const;
    const file = await sharp({ create }).jpeg().toBuffer();
    await using small = await PixelEngine.start({
      processes: 1,
      maxMemoryBytes: 128 * 2 ** 20,
    });
    const conversion = {
      width: 0,
      height: 0,
      fit: "inside",
      format: "avif",
      ignoreOrientation: false,
      keepMetadata: false,
      quality: 80,
    } as const;
    const error = await errorOf(small.convert(file, conversion));
    expect([Code[error.code], error.rawMessage]).toEqual([
      "ResourceExhausted",
      expect.stringContaining("more memory"),
    ]);
    expect(await small.info(jpeg, false)).toMatchObject({ width: 320 });
  });

  test("a cancelled call frees its process", async () => {
    const file = await picture(1400, 1400).jpeg().toBuffer();
    const call = await image.convert.submit({
      image: file,
      format: ImageFormat.AVIF,
      quality: 100,
    });
    for await (const _ of call.progress()) {
      break;
    }
    await call.cancel();
    expect(Code[(await errorOf(call.result())).code]).toBe("Canceled");
    expect(await image.getInfo({ image: jpeg })).toMatchObject({ width: 320 });
  });
});
