import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

/** An empty app outside the repository installs what `npm pack` makes. */
const top = join(import.meta.dirname, "..");
let folder: string;
let nats: NatsServer;
let worker: ReturnType<typeof spawn>;

function run(command: string, args: string[], cwd = folder): string {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, ...(nats && { NATS_URL: nats.url }) },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "jetrpc-install-"));
  nats = await startNats();
  const tarballs = ["packages/codec", "packages/runtime", "gen/pdf/v1"].map((path) => {
    const packed = run("npm", ["pack", "--json", "--pack-destination", folder], join(top, path));
    return `./${(JSON.parse(packed) as { filename: string }[])[0]?.filename}`;
  });
  const { devDependencies } = JSON.parse(readFileSync(join(top, "package.json"), "utf8"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "app", private: true }));
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...tarballs]);
  run("npm", [
    "install",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    `typescript@${devDependencies.typescript}`,
    `@types/node@${devDependencies["@types/node"]}`,
  ]);
  worker = spawn(process.execPath, [join(top, "services/pdf/dist/main.js")], {
    env: { ...process.env, NATS_URL: nats.url, PDF_EXIT_WITH_STDIN: "1" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(worker.stdout as NodeJS.ReadableStream, "data");
  cpSync(join(top, "services/pdf/fixtures/demo.pdf"), join(folder, "demo.pdf"));
});

afterAll(async () => {
  if (worker?.exitCode === null) {
    const exit = once(worker, "exit");
    worker.kill();
    await exit;
  }
  await nats?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const app = `
import { readFileSync } from "node:fs";
import { connect } from "@jetrpc/runtime/node";
import { ConnectError, Code } from "@jetrpc/runtime";
import { createPdfClient, type GetInfoResponse } from "@jetrpc-examples/pdf-v1-client";

async function main() {
  const connection = await connect();
  const pdf = createPdfClient(connection);
  const document = readFileSync("demo.pdf");
  const info: GetInfoResponse = await pdf.getInfo({ document });
  let pages = 0;
  for await (const page of pdf.extractText({ document, pages: [{ first: 1, last: 3 }] })) {
    const text: string = page.text;
    pages += text.length > 0 ? 1 : 0;
  }
  const call = await pdf.split.submit({ document, ranges: [{ first: 1, last: 1 }] });
  const { documents } = await call.result();
  const again = await pdf.split.attach(call.id).result();
  // @ts-expect-error a direct method has no submit
  void pdf.getInfo.submit;
  // @ts-expect-error no such field
  void info.nothing;
  const code = await pdf.getInfo({ document: new Uint8Array([1]) }).catch((e: unknown) => (e instanceof ConnectError ? Code[e.code] : e));
  await connection.close();
  console.log(JSON.stringify([info.pageCount > 3, pages, documents.length, again.documents.length, code]));
}

void main();
`;

const expected = [true, 3, 1, 1, "InvalidArgument"];

describe.each([
  ["ESM", "module", "node16"],
  ["CommonJS", "commonjs", "node16"],
  ["ESM", "module", "bundler"],
] as const)("an app as %s", (_name, type, moduleResolution) => {
  test(`is type-checked strict under moduleResolution ${moduleResolution}, and runs`, () => {
    const here = join(folder, `${type}-${moduleResolution}`);
    mkdirSync(here);
    writeFileSync(join(here, "package.json"), JSON.stringify({ type }));
    writeFileSync(join(here, "app.ts"), app);
    writeFileSync(
      join(here, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          exactOptionalPropertyTypes: true,
          noUncheckedIndexedAccess: true,
          target: "ES2022",
          module: moduleResolution === "bundler" ? "ESNext" : "node16",
          moduleResolution,
          types: ["node"],
          // Our own declarations are checked; those of others may want lib.dom.
          skipLibCheck: true,
          outDir: "dist",
        },
        files: ["app.ts"],
      }),
    );
    run(join(folder, "node_modules/.bin/tsc"), ["-p", here]);
    const output = run(process.execPath, [join(here, "dist/app.js")]);
    expect(JSON.parse(output)).toEqual(expected);
  });
});
