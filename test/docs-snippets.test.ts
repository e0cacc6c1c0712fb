import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";

/** Has TypeScript check what the pages show. */
const top = join(import.meta.dirname, "..");
mkdirSync(join(top, "out"), { recursive: true });
const folder = mkdtempSync(join(top, "out/docs-"));
afterAll(() => rmSync(folder, { recursive: true }));

const pages = [
  "README.md",
  "packages/otel/README.md",
  "packages/runtime/README.md",
  "packages/testing/README.md",
  ...readdirSync(join(top, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

/** What the pages take to be there: a snippet's own names go before these. */
const globals = `
import type * as runtime from "@jetrpc/runtime";
import type * as node from "@jetrpc/runtime/node";
import type * as pdfs from "@jetrpc-examples/pdf-v1-client";
import type * as videos from "@jetrpc-examples/video-v1-client";
import type * as weathers from "@jetrpc-examples/weather-v1-client";

declare global {
  const connection: runtime.Connection;
  type Interceptor = runtime.Interceptor;
  const Code: typeof runtime.Code;
  const ConnectError: typeof runtime.ConnectError;
  const connect: typeof node.connect;
  const checkHealth: typeof runtime.checkHealth;
  const createClient: typeof runtime.createClient;
  const describeService: typeof runtime.describeService;
  const listServices: typeof runtime.listServices;
  const serve: typeof node.serve;

  const createPdfClient: typeof pdfs.createPdfClient;
  const PdfService: typeof pdfs.PdfService;
  const LetterService: typeof pdfs.PdfService;
  const document: Uint8Array;
  const documents: Uint8Array[];
  function mergeDocuments(documents: Uint8Array[]): Uint8Array;
  function pages(document: Uint8Array): { number: number; count: number; text: string }[];

  const VideoService: typeof videos.VideoService;
  type VideoWorker = videos.VideoWorker;
  const video: videos.VideoClient;
  function reencode(film: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;

  const WeatherService: typeof weathers.WeatherService;
  const weather: weathers.WeatherClient;
  const impl: Partial<weathers.WeatherWorker>;
  const station: string;
  function model(texts: string[], signal: AbortSignal): Promise<number[][]>;
  function readings(): AsyncIterable<object>;
  const authenticate: runtime.Interceptor;
  const token: string;
}
`;

test("every snippet of the pages is TypeScript that is right", async () => {
  const snippets: string[] = [];
  for (const page of pages) {
    const text = readFileSync(join(top, page), "utf8");
    for (const match of text.matchAll(/^```ts\n(.*?)^```/gms)) {
      const [, snippet = ""] = match;
      const line = text.slice(0, match.index).split("\n").length;
      // The five steps of the README make their own package: readme.test.ts does them.
      if (!snippet.includes("greet-v1-client")) {
        const name = `${page.replaceAll(/\W/g, "-")}-line-${line}.ts`;
        writeFileSync(join(folder, name), `${snippet.replaceAll("{ … }", "{}")}\nexport {};\n`);
        snippets.push(name);
      }
    }
  }
  expect(snippets.length).toBeGreaterThan(10);
  writeFileSync(join(folder, "globals.ts"), globals);
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: join(top, "tsconfig.base.json"),
      compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
      include: ["*.ts"],
    }),
  );
  const tsc = join(top, "node_modules/.bin/tsc");
  const { stdout } = await promisify(execFile)(tsc, ["-p", folder], { cwd: folder }).catch(
    (failure: { stdout: string }) => failure,
  );
  expect(stdout).toBe("");
});
