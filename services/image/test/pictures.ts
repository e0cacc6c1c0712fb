import { deflateSync } from "node:zlib";
import { ConnectError } from "@jetrpc/runtime";
import sharp from "sharp";

/** A picture with soft colours that is the same each time. */
export function picture(width: number, height: number, channels: 3 | 4 = 3) {
  const data = Buffer.alloc(width * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) {
        const wave = Math.sin(x / (7 + 3 * c)) + Math.cos(y / (9 + 2 * c));
        data[(y * width + x) * channels + c] = c === 3 ? (255 * x) / width : 128 + 60 * wave;
      }
    }
  }
  return sharp(data, { raw: { width, height, channels } });
}

/** An animated GIF. */
export async function animation(frames: number, size = 16): Promise<Uint8Array> {
  const stack = Buffer.alloc(size * size * 3 * frames);
  for (let frame = 0; frame < frames; frame++) {
    // Frames that differ: the encoder leaves out those that do not.
    const start = frame * size * size * 3;
    stack.fill(frame % 2 === 0 ? 200 : 20, start, start + size * size * 3);
    stack.fill((frame * 37) % 256, start, start + size * 3 * (1 + (frame % (size - 1))));
  }
  return sharp(stack, {
    raw: { width: size, height: size * frames, channels: 3, pageHeight: size },
  })
    .gif({ effort: 1, interFrameMaxError: 0 })
    .toBuffer();
}

/** A PNG that says it has so many pixels, and has none of them. */
export function bomb(width: number, height: number): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const data = deflateSync(Buffer.alloc(1_000_000));
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", data),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const whole = Buffer.alloc(body.length + 8);
  whole.writeUInt32BE(data.length, 0);
  body.copy(whole, 4);
  whole.writeUInt32BE(crc(body), body.length + 4);
  return whole;
}

function crc(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    }
  }
  return (value ^ 0xffffffff) >>> 0;
}

/** An SVG with a filter that takes long. */
export const svg = Buffer.from(
  `<svg xmlns="http://www.w3.org/2000/svg" width="4000" height="4000"><filter id="f"><feGaussianBlur stdDeviation="500"/><feTurbulence baseFrequency="0.9" numOctaves="90"/></filter><rect width="4000" height="4000" filter="url(#f)"/></svg>`,
);

/** The ConnectError that a call ends with. */
export async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => "no error",
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectError)) {
    throw new Error(`the call ended with ${String(error)}`);
  }
  return error;
}

/** Closes what a test file opened, the last first. Node 20 has no AsyncDisposableStack. */
export class Closing {
  private readonly actions: (() => unknown)[] = [];

  defer(action: () => unknown): void {
    this.actions.unshift(action);
  }

  async close(): Promise<void> {
    for (const action of this.actions.splice(0)) {
      await action();
    }
  }
}
