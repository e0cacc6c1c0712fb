import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPackage } from "../src/build.js";
import { Workspace } from "./workspace.js";

/** Contracts of others, as npm packages ship them. */
interface Source {
  readonly npm: string;
  /** Folders of the npm package where the paths of imports begin. */
  readonly roots: readonly string[];
  /** The files to generate; all that they import is generated too. All of the roots by default. */
  readonly files?: RegExp;
  readonly services: number;
  readonly methods: number;
}

/** Small ones, for every run of the tests. */
const few: Source[] = [
  { npm: "grpc-health-check@2.1.0", roots: ["proto"], services: 1, methods: 3 },
  {
    npm: "@grpc/reflection@1.0.4",
    roots: ["build/proto"],
    files: /^grpc/,
    services: 2,
    methods: 2,
  },
];

/** The rest: `npm run publics`. */
const many: Source[] = [
  { npm: "etcd3@1.1.2", roots: ["proto"], services: 6, methods: 41 },
  { npm: "@zilliz/milvus2-sdk-node@2.4.9", roots: ["dist/proto/proto"], services: 2, methods: 89 },
  {
    npm: "@hashgraph/proto@2.25.0",
    roots: ["src/proto"],
    files: /^(?!sdk_)/,
    services: 12,
    methods: 78,
  },
  {
    npm: "google-proto-files@5.0.3",
    roots: ["."],
    files:
      /^google\/(cloud\/(bigquery\/v2|speech|tasks|kms|run|secretmanager|functions|scheduler|translate|vision)|pubsub|longrunning|storage|firestore|spanner|bigtable|logging|monitoring|datastore|container)\//,
    services: 90,
    methods: 1015,
  },
  {
    npm: "@grpc/grpc-js-xds@1.14.1",
    roots: ["deps/envoy-api", "deps/xds", "deps/googleapis", "deps/protoc-gen-validate"],
    files: /^envoy\/service\//,
    services: 21,
    methods: 40,
  },
];

const cache = join(import.meta.dirname, "../.cache/publics");
const sources = process.env["JETRPC_PUBLICS"] === "all" ? [...few, ...many] : few;

let nats: NatsServer;
beforeAll(async () => {
  nats = await startNats();
});
afterAll(() => nats?.stop());

describe.each(sources)("the .proto files of $npm", { timeout: 3_600_000 }, (source) => {
  const workspace = new Workspace();
  afterAll(() => workspace.remove());

  test("are generated, type-checked, built, loaded and called", () => {
    copyProtos(source, workspace);
    expect(workspace.generate()).toEqual({ status: 0, output: "" });
    const files = workspace.generated();
    const sourceFiles = [...files.keys()].filter((path) => path.endsWith(".ts"));
    expect(workspace.typeCheck(sourceFiles)).toEqual({ status: 0, output: "" });

    const manifests = [...files].filter(([path]) => path.endsWith("/package.json"));
    const entries: string[] = [];
    for (const [path, text] of manifests) {
      const { scripts, exports } = JSON.parse(text);
      buildPackage(join(workspace.folder, dirname(path)), scripts.build.split(" ").at(-1));
      entries.push(posix.join(dirname(path), exports["."].import.default));
    }
    const built = entries.map((path) => path.replace(/\.js$/, ".d.ts"));
    expect(workspace.typeCheck(built)).toEqual({ status: 0, output: "" });

    workspace.write("call.mjs", caller);
    workspace.write("entries.json", JSON.stringify(entries));
    const { status, output } = workspace.run("node", ["call.mjs"], ".", { NATS_URL: nats.url });
    expect(status, output).toBe(0);
    const { methods, services } = JSON.parse(output.split("\n").at(-2) ?? "");
    console.log(
      `${source.npm}: ${sourceFiles.length} files, ${entries.length} packages, ${services} services, ${methods} methods`,
    );
    expect({ services, methods }).toEqual({ services: source.services, methods: source.methods });
  });
});

/** Copies the files to generate and all that they import; without those whose imports are not there. */
function copyProtos({ npm, roots, files = /^/ }: Source, workspace: Workspace): void {
  const folder = unpack(npm);
  const texts = new Map<string, string | undefined>();
  const read = (path: string): string | undefined => {
    if (!texts.has(path)) {
      const place = roots.map((root) => join(folder, root, path)).find(existsSync);
      const text = place && mend(readFileSync(place, "utf8"));
      texts.set(path, text);
      const imports = [...(text ?? "").matchAll(/^import\s+(?:public |weak )?["'](.*?)["']/gm)];
      if (text && !imports.every(([, its = ""]) => isWellKnown(its) || read(its) !== undefined)) {
        texts.set(path, undefined);
      }
    }
    return texts.get(path);
  };
  const paths = roots.flatMap((root) => protosIn(join(folder, root)));
  for (const path of paths.filter((its) => files.test(its))) {
    read(path);
  }
  for (const [path, text] of texts) {
    if (text !== undefined) {
      workspace.write(`proto/${path}`, text);
    }
  }
}

/** Makes files legal: of etcd, which only a lenient parser takes, and of Envoy, whose options are newer than what defines them. */
function mend(text: string): string {
  const imported = text
    .replace(/^import "\.\//gm, `import "`)
    .replaceAll(" ignore_empty: true", "");
  return imported.includes("google/api/annotations.proto")
    ? imported
    : imported.replace(/option \(google\.api\.http\) = \{(?:[^{}]|\{[^{}]*\})*\};/g, "");
}

function isWellKnown(path: string): boolean {
  return path.startsWith("google/protobuf/");
}

function protosIn(folder: string): string[] {
  return execFileSync("find", [folder, "-name", "*.proto", "-printf", "%P\n"], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  })
    .split("\n")
    .filter((path) => path !== "")
    .sort();
}

/** The folder of an npm package, which npm need not install. */
function unpack(npm: string): string {
  const folder = join(cache, npm.replace("/", "+"));
  if (!existsSync(join(folder, "package.json"))) {
    mkdirSync(folder, { recursive: true });
    const args = ["pack", npm, "--silent", "--prefer-offline", "--pack-destination", folder];
    const tarball = execFileSync("npm", args, { cwd: folder, encoding: "utf8" }).trim();
    execFileSync("tar", ["xzf", tarball, "--strip-components=1"], { cwd: folder });
  }
  return folder;
}

/** Loads every package in both formats, and calls each method of its services once. */
const caller = `
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { create } from "@bufbuild/protobuf";
import { reflect, scalarZeroValue } from "@bufbuild/protobuf/reflect";
import { connect, serve } from "@jetrpc/runtime/node";

const require = createRequire(import.meta.url);
const legacyRequired = 3;

function empty(schema) {
  const message = create(schema);
  const fields = reflect(schema, message);
  for (const field of schema.fields.filter(({ presence }) => presence === legacyRequired)) {
    if (field.fieldKind === "message") fields.set(field, reflect(field.message, empty(field.message)));
    else fields.set(field, field.fieldKind === "enum" ? field.enum.values[0].number : scalarZeroValue(field.scalar, false));
  }
  return message;
}

const handlers = {
  unary: (output) => () => empty(output),
  server_streaming: (output) => async function* () { yield empty(output); },
  client_streaming: (output) => async (requests) => { for await (const _ of requests); return empty(output); },
  bidi_streaming: (output) => async function* (requests) { for await (const _ of requests) yield empty(output); },
};

async function* once(request) { yield request; }

async function answers(call) {
  const found = [];
  for await (const answer of call) found.push(answer);
  return found;
}

const connection = await connect();
const count = { services: 0, methods: 0 };
for (const entry of JSON.parse(readFileSync("entries.json", "utf8"))) {
  const own = await import("./" + entry);
  const common = require("./" + entry.replace(/\\.js$/, ".cjs"));
  assert.deepEqual(Object.keys(common).sort(), Object.keys(own).sort());
  const services = Object.values(own).filter((its) => its.kind === "service" && its.methods.length > 0);
  for (const service of services) {
    // Where a name is taken, the next one is.
    const client = [service.name.replace(/Service$/, ""), service.name, service.name + "$"]
      .flatMap((base) => own["create" + base + "Client"]?.(connection) ?? [])
      .find((its) => service.methods.every(({ localName }) => localName in its));
    const worker = await serve(
      service,
      Object.fromEntries(service.methods.map((its) => [its.localName, handlers[its.methodKind](its.output)])),
      { connection },
    );
    for (const { localName, methodKind, input, output } of service.methods) {
      const streams = /^(client|bidi)/.test(methodKind);
      const call = client[localName](streams ? once(empty(input)) : empty(input));
      const [answer, ...more] = /^(server|bidi)/.test(methodKind) ? await answers(call) : [await call];
      assert.equal(answer.$typeName, output.typeName);
      assert.equal(more.length, 0);
      count.methods += 1;
    }
    count.services += 1;
    await worker.drain();
  }
}
await connection.close();
console.log(JSON.stringify(count));
`;
