// `npm run sizes`: what programs weigh that use the runtime, as bundles, minified and
// gzipped: what is loaded at once, and all. `-- --check` fails when one is larger than packages/runtime/README.md says;
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

/**
 * Each row of the table, and the program that is measured for it. `most` is how many KB it may
 * load at once, whatever README.md says.
 */
const programs = [
  {
    name: "a browser's client, by a gateway",
    platform: "browser",
    most: 45,
    code: `
      import { connectGateway } from "@jetrpc/web";
      import { createPdfClient } from "${generated}";
      globalThis.client = createPdfClient(connectGateway("https://api.example.com"));`,
  },
  {
    name: "a browser's client, over WebSocket",
    platform: "browser",
    most: 86,
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

/** Packages that are not ours. */
const foreign = ["@bufbuild/*", "@connectrpc/*", "@nats-io/*", "dotenv", "js-sha256"];

/** Leaves out what a program loads later, by `import()`. */
const withoutLate = {
  name: "without-late",
  setup({ onResolve }) {
    onResolve({ filter: /./ }, ({ kind, path }) =>
      kind === "dynamic-import" ? { path, external: true } : undefined,
    );
  },
};

/** Bundles a program; `external` has what is left out. */
function bundle({ code, platform }, { external = [], alias = {}, plugins = [] } = {}) {
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
    plugins,
    logLevel: "error",
  });
}

/** The three sizes of a program that the table has, in KB. */
async function measure(program) {
  const plugins = [withoutLate];
  const [initial, own, total] = await Promise.all([
    bundle(program, { plugins }),
    bundle(program, { plugins, external: foreign }),
    bundle(program),
  ]);
  return { name: program.name, sizes: [initial, own, total].map(gzipped) };
}

function gzipped({ outputFiles }) {
  return gzipSync(outputFiles[0].contents, { level: 9 }).length / 1000;
}

/** The largest parts of a program that are loaded at once: packages, and files of ours. In bytes before gzip. */
async function explain(program) {
  const src = join(runtime, "src");
  const entry = (name) => [`@jetrpc/runtime/${name}`, join(src, `${name}.ts`)];
  const { metafile } = await bundle(program, {
    plugins: [withoutLate],
    alias: Object.fromEntries([
      ...[
        "node",
        "caller",
        "operator",
        "schema",
        "jetrpc/v1/options_pb.js",
        "jetrpc/v1/blob_pb.js",
      ].map((name) =>
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

const columns = ["KB at once", "of which ours", "KB in all"];
const head = `| Program | ${columns.join(" | ")} |\n| --- | --: | --: | --: |\n`;
const row = ({ name, sizes }) =>
  `| ${name} | ${sizes.map((size) => size.toFixed(1)).join(" | ")} |`;
const tablePattern = /\| Program \| KB .*\n(?:\|.*\n)+/;

/** The sizes that README.md gives, by program. */
function readTable() {
  const [table = ""] = tablePattern.exec(readFileSync(readme, "utf8")) ?? [];
  const rows = [...table.matchAll(/^\| (.+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$/gm)];
  return new Map(rows.map(([, name, ...sizes]) => [name, sizes.map(Number)]));
}

const flag = process.argv[2];
const measured = await Promise.all(programs.map(measure));
if (flag === "--write") {
  const text = readFileSync(readme, "utf8");
  if (!tablePattern.test(text)) {
    throw new Error(`${readme} has no table of sizes: it begins with\n${head}`);
  }
  writeFileSync(readme, text.replace(tablePattern, `${head}${measured.map(row).join("\n")}\n`));
}
console.log(head + measured.map(row).join("\n"));
if (flag === "--check") {
  const table = readTable();
  for (const [index, { name, sizes }] of measured.entries()) {
    const known = table.get(name) ?? [];
    const grown = sizes
      .map((now, column) => ({ what: columns[column], now, before: known[column] ?? 0 }))
      .filter(({ now, before }) => now > before * (1 + tolerance) + 0.1);
    for (const { what, now, before } of grown) {
      console.error(
        `${name}, ${what}: ${now.toFixed(1)}, and ${before.toFixed(1)} in packages/runtime/README.md. Make it smaller, or write it down: npm run sizes -- --write`,
      );
    }
    const { most = Number.POSITIVE_INFINITY } = programs[index];
    if (sizes[0] > most) {
      console.error(`${name} loads ${sizes[0].toFixed(1)} KB at once, and may load ${most}`);
    }
    if (grown.length > 0 || sizes[0] > most) {
      console.error(
        `What it loads at once, the largest parts, in bytes before gzip:\n${await explain(programs[index])}`,
      );
      process.exitCode = 1;
    }
  }
}
