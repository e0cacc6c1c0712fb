// `npm run sizes`: what programs weigh that use the runtime, as bundles, minified and
// gzipped. `-- --check` fails when one is larger than packages/runtime/README.md says;
// `-- --write` writes the sizes there.
import { readFileSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const top = fileURLToPath(new URL("..", import.meta.url));
const runtime = join(top, "packages/runtime");
const readme = join(runtime, "README.md");
const generated = "@jetrpc-examples/pdf-v1-client";

/** By how much a bundle may be larger than README.md says, besides 0.1 KB. */
const tolerance = 0.03;

/** Each row of the table, and the program that is measured for it. */
const programs = [
  {
    name: "a browser's client, over WebSocket",
    platform: "browser",
    code: `
      import { wsconnect } from "@nats-io/nats-core";
      import { createConnection } from "@jetrpc/runtime";
      import { createPdfClient } from "${generated}";
      const nats = await wsconnect({ servers: "wss://nats.example.com" });
      globalThis.client = createPdfClient(createConnection(nats));`,
  },
  {
    name: "of that, the NATS client alone",
    platform: "browser",
    code: `
      import { wsconnect } from "@nats-io/nats-core";
      globalThis.nats = await wsconnect({ servers: "wss://nats.example.com" });`,
  },
  {
    name: "a worker of Node, by `serve()`",
    platform: "node",
    code: `
      import { serve } from "@jetrpc/runtime/node";
      import { PdfService } from "${generated}";
      await serve(PdfService, {});`,
  },
  {
    name: "a client of Node, by `connect()`",
    platform: "node",
    code: `
      import { connect } from "@jetrpc/runtime/node";
      import { createPdfClient } from "${generated}";
      globalThis.client = createPdfClient(await connect());`,
  },
  {
    name: "all of `@jetrpc/runtime/operator`",
    platform: "node",
    code: `export * from "@jetrpc/runtime/operator";`,
  },
  {
    name: "all of `@jetrpc/runtime/schema`",
    platform: "node",
    code: `export * from "@jetrpc/runtime/schema";`,
  },
];

/** Bundles a program; `external` has what is left out. */
function bundle({ code, platform }, { external = [], alias = {} } = {}) {
  return build({
    stdin: { contents: code, resolveDir: join(top, "services/pdf") },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    target: "es2022",
    platform,
    external: [...external, ...builtinModules],
    alias,
    logLevel: "error",
  });
}

async function measure(program) {
  const all = await bundle(program);
  const own = await bundle(program, {
    external: ["@bufbuild/*", "@connectrpc/*", "@nats-io/*", "dotenv", "js-sha256"],
  });
  return { name: program.name, total: gzipped(all), own: gzipped(own) };
}

function gzipped({ outputFiles }) {
  return gzipSync(outputFiles[0].contents, { level: 9 }).length / 1000;
}

/** The largest parts of a program: packages, and files of ours. In bytes before gzip. */
async function explain(program) {
  const src = join(runtime, "src");
  const entry = (name) => [`@jetrpc/runtime/${name}`, join(src, `${name}.ts`)];
  const { metafile } = await bundle(program, {
    alias: Object.fromEntries([
      ...["node", "operator", "schema", "jetrpc/v1/options_pb.js", "jetrpc/v1/blob_pb.js"].map(
        (name) =>
          name.endsWith(".js")
            ? [`@jetrpc/runtime/${name}`, join(src, "gen", name.replace(/js$/, "ts"))]
            : entry(name),
      ),
      ["@jetrpc/runtime", join(src, "index.ts")],
    ]),
  });
  const bytes = new Map();
  for (const [path, { bytesInOutput }] of Object.entries(
    Object.values(metafile.outputs)[0].inputs,
  )) {
    const part = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? path;
    bytes.set(part, (bytes.get(part) ?? 0) + bytesInOutput);
  }
  return [...bytes]
    .sort(([, a], [, b]) => b - a)
    .slice(0, 20)
    .map(([part, size]) => `${String(size).padStart(8)}  ${part}`)
    .join("\n");
}

const head = "| Program | KB | of which ours |\n| --- | --: | --: |\n";
const row = ({ name, total, own }) => `| ${name} | ${total.toFixed(1)} | ${own.toFixed(1)} |`;
const tablePattern = /\| Program \| KB \| of which ours \|\n(?:\|.*\n)+/;

/** The sizes that README.md gives, by program. */
function readTable() {
  const [table = ""] = tablePattern.exec(readFileSync(readme, "utf8")) ?? [];
  const rows = [...table.matchAll(/^\| (.+) \| ([\d.]+) \| ([\d.]+) \|$/gm)];
  return new Map(rows.map(([, name, total, own]) => [name, { total: +total, own: +own }]));
}

const flag = process.argv[2];
const sizes = await Promise.all(programs.map(measure));
if (flag === "--write") {
  const text = readFileSync(readme, "utf8");
  if (!tablePattern.test(text)) {
    throw new Error(`${readme} has no table of sizes: it begins with\n${head}`);
  }
  writeFileSync(readme, text.replace(tablePattern, `${head}${sizes.map(row).join("\n")}\n`));
}
console.log(head + sizes.map(row).join("\n"));
if (flag === "--check") {
  const table = readTable();
  for (const [index, { name, total, own }] of sizes.entries()) {
    const known = table.get(name);
    const grown = [
      ["the bundle", total, known?.total ?? 0],
      ["our part", own, known?.own ?? 0],
    ].filter(([, now, before]) => now > before * (1 + tolerance) + 0.1);
    for (const [what, now, before] of grown) {
      console.error(
        `${name}: ${what} is ${now.toFixed(1)} KB, and ${before.toFixed(1)} in packages/runtime/README.md. Make it smaller, or write it down: npm run sizes -- --write`,
      );
    }
    if (grown.length > 0) {
      console.error(`Its largest parts, in bytes before gzip:\n${await explain(programs[index])}`);
      process.exitCode = 1;
    }
  }
}
