import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ModelEngine, PixelEngine } from "@jetrpc-examples/image-service";
import sharp from "sharp";
import { expect, test } from "vitest";
import { animation, bomb, errorOf, picture } from "./pictures.js";

const mebibyte = 1024 * 1024;

/** Resident memory of a process, in bytes. */
function residentBytes(pid: number): number {
  const [, pages] = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ");
  return Number(pages) * 4096;
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

test.skipIf(process.platform !== "linux")(
  "200 mixed images leave the memory of each process as it was",
  { timeout: 900_000 },
  async () => {
    await using pixels = await PixelEngine.start({ processes: 2 });
    await using models = await ModelEngine.start({ devices: ["cpu"] });
    const folder = join(import.meta.dirname, "../fixtures");
    const scan = await sharp(readFileSync(join(folder, "scan.jpg")))
      .resize(300)
      .jpeg()
      .toBuffer();
    const still = {
      width: 300,
      height: 0,
      fit: "inside",
      ignoreOrientation: false,
      keepMetadata: false,
      quality: 80,
    } as const;
    const files = [
      await picture(1600, 1200).jpeg().toBuffer(),
      await picture(900, 700, 4).png().toBuffer(),
      await picture(640, 480).webp().toBuffer(),
      await animation(20, 64),
      await picture(500, 400).toColourspace("cmyk").jpeg().toBuffer(),
    ];
    const small = await picture(80, 60).png().toBuffer();
    const round = async (index: number) => {
      const file = files[index % files.length] as Buffer;
      const format = (["jpeg", "webp", "png", "avif"] as const)[index % 4] ?? "png";
      await Promise.all([
        pixels.convert(file, { ...still, format }),
        pixels.thumbnail({ image: file, size: 200, format: "webp" }),
        index % 10 === 0 ? errorOf(pixels.info(bomb(9, 9).subarray(0, 20), false)) : undefined,
        index % 2 === 0
          ? collect(models.readText(scan))
          : collect(models.upscale(small, { factor: 2, format: "png", quality: 90 })),
      ]);
    };
    for (let i = 0; i < 40; i++) {
      await round(i);
    }
    const processes = () => [...pixels.pids, ...models.pids, process.pid];
    const pids = processes();
    const before = pids.map(residentBytes);
    for (let i = 40; i < 240; i++) {
      await round(i);
    }
    expect(processes()).toEqual(pids);
    const grown = pids.map((pid, i) => (residentBytes(pid) - (before[i] as number)) / mebibyte);
    console.log(
      "MiB at the start and by which it has grown:",
      before.map((b) => b / mebibyte),
      grown,
    );
    for (const by of grown) {
      expect(by).toBeLessThan(64);
    }
  },
);
