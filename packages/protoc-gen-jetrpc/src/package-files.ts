import { createRequire } from "node:module";
import { posix } from "node:path";
import type { DescFile, DescService } from "@bufbuild/protobuf";
import type { Schema } from "@bufbuild/protoplugin";
import { bindService, type MethodBinding } from "@jetrpc/runtime/schema";
import type { ServiceNames } from "./names.js";
import type { Options } from "./options.js";
import type { ProtoPackage } from "./proto-package.js";

const require = createRequire(import.meta.url);

/** The runtime that the generated code is for. */
const runtime = require("@jetrpc/runtime/package.json") as {
  version: string;
  dependencies: Record<string, string>;
};

const own = require("../package.json") as { version: string };

/** Generates what makes an npm package of a proto package. */
export function generatePackage(schema: Schema, pkg: ProtoPackage, options: Options): void {
  const write = (name: string, text: string) => {
    const f = schema.generateFile(posix.join(pkg.folder, name));
    f.print(text.trimEnd());
  };
  pkg.index.print(index(pkg));
  write("package.json", packageJson(pkg, options));
  write("tsconfig.json", tsconfig);
  write("README.md", readme(pkg));
}

function packageJson(pkg: ProtoPackage, options: Options): string {
  // From where the package lies to where the .proto files' paths begin.
  const root = posix.relative(pkg.folder, "") || ".";
  const built = (path: string) => ({
    import: { types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` },
    require: { types: `./dist/${path}.d.cts`, default: `./dist/${path}.cjs` },
  });
  const json = {
    name: pkg.npmName,
    version: options.npmVersions.get(pkg.name) ?? options.npmVersion,
    description: `Client and worker interface of ${describe(pkg)}, over NATS by jetrpc`,
    license: options.npmLicense,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20" },
    files: ["dist"],
    exports: {
      ".": built(posix.join(pkg.folder, "index")),
      // Each file by the path of its .proto, those of other packages too: pdf/v1/pdf_pb.js.
      "./*.js": built("*"),
      "./package.json": "./package.json",
    },
    scripts: { build: `protoc-gen-jetrpc build ${root}` },
    dependencies: { "@bufbuild/protobuf": runtime.dependencies["@bufbuild/protobuf"] },
    // An app hands its connection to the package: both need the same runtime.
    peerDependencies: { "@jetrpc/runtime": `^${runtime.version}` },
    devDependencies: {
      "@jetrpc/protoc-gen-jetrpc": `^${own.version}`,
      "@jetrpc/runtime": `^${runtime.version}`,
    },
  };
  return JSON.stringify(json, undefined, 2);
}

function describe(pkg: ProtoPackage): string {
  const services = pkg.files.flatMap((file) => file.services).map((s) => s.typeName);
  return services.length > 0 ? services.join(", ") : `the messages of ${pkg.name || "no package"}`;
}

/** Exports all that was generated, which protoc-gen-es puts where the .proto file is. */
function index(pkg: ProtoPackage): string {
  const from = (file: DescFile, suffix: string) => {
    const path = posix.relative(pkg.folder, `${file.name}${suffix}`);
    return JSON.stringify(path.startsWith(".") ? path : `./${path}`);
  };
  const lines: string[] = [];
  const renamed = new Set(
    pkg.exports.filter(({ name, exported }) => name !== exported).map(({ name }) => name),
  );
  for (const file of pkg.files) {
    if (file.services.length > 0) {
      lines.push(`export * from ${from(file, "_jetrpc.js")};`);
    }
    lines.push(`export * from ${from(file, "_pb.js")};`);
  }
  // Named exports go before those of a whole file: both files of a service export it.
  for (const { desc, name, file } of pkg.exports) {
    if (desc.kind === "service" && !renamed.has(name)) {
      lines.push(`export { ${name} } from ${from(file, "_jetrpc.js")};`);
    }
  }
  for (const name of renamed) {
    lines.push("", `// ${name} is a name in several files.`);
    for (const its of pkg.exports.filter((other) => other.name === name)) {
      const what = its.exported === name ? name : `${name} as ${its.exported}`;
      const type = its.isShape && its.desc.kind === "message" ? "type " : "";
      const suffix = its.desc.kind === "service" ? "_jetrpc.js" : "_pb.js";
      lines.push(`export { ${type}${what} } from ${from(its.file, suffix)};`);
    }
  }
  return lines.join("\n");
}

const tsconfig = JSON.stringify(
  {
    compilerOptions: {
      target: "ES2022",
      module: "NodeNext",
      moduleResolution: "NodeNext",
      strict: true,
      skipLibCheck: true,
      noEmit: true,
    },
    include: ["index.ts"],
  },
  undefined,
  2,
);

function readme(pkg: ProtoPackage): string {
  const sections = [
    `# ${pkg.npmName}`,
    `${describe(pkg)}, over NATS by [jetrpc](https://github.com/jetrpc/jetrpc). Generated: change the .proto files instead.`,
    fence(`npm install ${pkg.npmName} @jetrpc/runtime`, "sh"),
  ];
  for (const service of pkg.files.flatMap((file) => file.services)) {
    const names = pkg.names.get(service);
    if (names && service.methods.length > 0) {
      sections.push(
        `## ${service.name}`,
        fence(clientSnippet(service, names, pkg.npmName)),
        "Implemented by a worker, all of it or some methods only:",
        fence(workerSnippet(service, names, pkg.npmName)),
      );
    }
  }
  return sections.join("\n\n");
}

function fence(code: string, language = "ts"): string {
  return `\`\`\`${language}\n${code}\n\`\`\``;
}

function clientSnippet(service: DescService, names: ServiceNames, npmName: string): string {
  const methods = [...bindService(service).methods.values()];
  const direct = methods.find((m) => m.delivery === "direct");
  const durable = methods.find((m) => m.delivery === "durable");
  const lines = [
    `import { connect } from "@jetrpc/runtime/node";`,
    `import { ${names.createClient} } from "${npmName}";`,
    "",
    "const connection = await connect(); // reads NATS_URL, NATS_TOKEN, ... and .env",
    `const client = ${names.createClient}(connection);`,
    ...(direct ? ["", ...callSnippet(direct)] : []),
    ...(durable ? ["", ...submitSnippet(durable)] : []),
    "",
    "await connection.close();",
  ];
  return lines.join("\n");
}

function callSnippet({ desc }: MethodBinding): string[] {
  const streams = desc.methodKind === "client_streaming" || desc.methodKind === "bidi_streaming";
  const call = `client.${desc.localName}(${streams ? "(async function* () {\n  yield {};\n})()" : "{}"})`;
  return desc.methodKind === "unary" || desc.methodKind === "client_streaming"
    ? [`console.log(await ${call});`]
    : [`for await (const response of ${call}) {`, "  console.log(response);", "}"];
}

function submitSnippet({ desc }: MethodBinding): string[] {
  const name = desc.localName;
  const read =
    desc.methodKind === "unary"
      ? (call: string) => [`console.log(await ${call}.result());`]
      : (call: string) => [
          `for await (const response of ${call}) {`,
          "  console.log(response);",
          "}",
        ];
  return [
    "// Stored when submit() returns; then done, whatever crashes.",
    `const call = await client.${name}.submit({}, { callId: "example-1" });`,
    ...read("call"),
    "// In any process, on any day while the result is kept:",
    ...read(`client.${name}.attach("example-1")`),
  ];
}

function workerSnippet(service: DescService, names: ServiceNames, npmName: string): string {
  // TypeScript wants those that every object has in an implementation of some methods, too.
  const inherited = service.methods.filter(({ localName }) => localName in Object.prototype);
  const methods = inherited.length > 0 ? inherited : service.methods.slice(0, 1);
  // The snippet's own names stay; a service with such a name gets another one.
  const isTaken = names.service === "serve" || names.service === "worker";
  const local = isTaken ? `${names.service}Service` : names.service;
  const imported = isTaken ? `${names.service} as ${local}` : local;
  return [
    `import { serve } from "@jetrpc/runtime/node";`,
    `import { ${imported}, type ${names.worker} } from "${npmName}";`,
    "",
    `const worker: Partial<${names.worker}> = {`,
    ...methods.flatMap(({ localName, methodKind }) =>
      methodKind === "server_streaming" || methodKind === "bidi_streaming"
        ? [`  async *${localName}(request, context) {`, "    yield {};", "  },"]
        : [`  async ${localName}(request, context) {`, "    return {};", "  },"],
    ),
    "};",
    `await serve(${local}, worker);`,
  ].join("\n");
}
