/**
 * Prints, as a table, how many letters of the pictures in fixtures/ are read wrong, and in how
 * much CPU time, by this service and by tesseract.js. That and its languages must be in a folder:
 *
 *     npm install --prefix /tmp/tesseract tesseract.js@7 @tesseract.js-data/{eng,deu,fra}
 *     npx tsx services/image/compare-text.ts /tmp/tesseract
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ModelEngine } from "@jetrpc-examples/image-service";
import sharp from "sharp";
import { errorRate, fixture, texts } from "./test/texts.js";

interface Reader {
  read(image: Buffer): Promise<string>;
  pid: number;
}

/** CPU time and memory of a process, by Linux. */
function usage(pid: number): { seconds: number; megabytes: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")")).split(" ").map(Number);
  const [user = 0, system = 0, pages = 0] = [fields[12], fields[13], fields[22]];
  return { seconds: (user + system) / 100, megabytes: (pages * 4096) / 1e6 };
}

async function measure(name: string, { read, pid }: Reader): Promise<string[]> {
  const file = fixture(name);
  await read(file);
  const { seconds } = usage(pid);
  const text = await read(file);
  const after = usage(pid);
  return [
    `${(100 * errorRate(name, text)).toFixed(1)} %`,
    `${(after.seconds - seconds).toFixed(1)} s`,
    `${after.megabytes.toFixed(0)} MB`,
  ];
}

async function ours(): Promise<Reader & AsyncDisposable> {
  const engine = await ModelEngine.start({ devices: ["cpu"] });
  return {
    pid: engine.pids[0] as number,
    async read(image) {
      const lines: string[] = [];
      for await (const { value } of engine.readText(image)) {
        lines.push(value.text);
      }
      return lines.join("\n");
    },
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

async function theirs(folder: string, language: string): Promise<Reader & AsyncDisposable> {
  const data = join(folder, "node_modules/@tesseract.js-data");
  const { createWorker } = createRequire(join(folder, "package.json"))("tesseract.js");
  // It looks for all languages in one folder.
  const langPath = mkdtempSync(join(tmpdir(), "tesseract-"));
  for (const code of language.split("+")) {
    const file = `${code}.traineddata.gz`;
    copyFileSync(join(data, code, "4.0.0_best_int", file), join(langPath, file));
  }
  const worker = await createWorker(language, 1, { langPath, cacheMethod: "none" });
  rmSync(langPath, { recursive: true });
  return {
    pid: process.pid,
    // It reads neither EXIF nor TIFF as our service does: it gets the picture upright, as PNG.
    async read(image) {
      const png = await sharp(image).autoOrient().png().toBuffer();
      const { data: page } = await worker.recognize(png);
      return page.text;
    },
    [Symbol.asyncDispose]: () => worker.terminate(),
  };
}

const folder = resolve(process.argv[2] ?? ".");
const names = Object.keys(texts);
const rows = new Map(names.map((name) => [name, [name]]));
{
  await using reader = await ours();
  for (const name of names) {
    rows.get(name)?.push(...(await measure(name, reader)));
  }
}
for (const name of names) {
  const language = ["german", "french"].find((each) => name.includes(each));
  const code = { german: "deu", french: "fra" }[language ?? ""] ?? "eng";
  await using reader = await theirs(folder, name.includes("languages") ? "eng+deu+fra" : code);
  rows.get(name)?.push(...(await measure(name, reader)));
}
console.log("| picture | ours | CPU | memory | tesseract.js | CPU | memory |");
console.log("| --- | --: | --: | --: | --: | --: | --: |");
for (const row of rows.values()) {
  console.log(`| ${row.join(" | ")} |`);
}
