// `npm run docs:api`: the reference of @jetrpc/runtime, in docs/api, from its doc comments.
// `--check` writes nothing. A link that leads nowhere, or a type that the public API
// mentions and does not export, is an error.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Application, OptionDefaults } from "typedoc";

const top = fileURLToPath(new URL("..", import.meta.url));
const runtime = join(top, "packages/runtime");
const { exports } = JSON.parse(readFileSync(join(runtime, "package.json"), "utf8"));

/** The source of each entry point that the package exports. */
function entryPoints() {
  return Object.values(exports)
    .map((target) => target.import?.default)
    .filter((file) => file !== undefined)
    .map((file) => {
      const name = file.replace(/^\.\/dist\//, "").replace(/\.js$/, "");
      const candidates = [`src/${name}.ts`, `src/${name}/index.ts`];
      const source = candidates.map((path) => join(runtime, path)).find(existsSync);
      if (!source) {
        throw new Error(`${file} has no source: looked for ${candidates.join(" and ")}`);
      }
      return source;
    });
}

const application = await Application.bootstrap({
  name: "@jetrpc/runtime",
  entryPoints: entryPoints(),
  // protoc-gen-es writes it.
  blockTags: [...OptionDefaults.blockTags, "@generated"],
  excludeTags: [...OptionDefaults.excludeTags, "@generated"],
  basePath: join(runtime, "src"),
  sourceLinkTemplate: "https://github.com/jetrpc/jetrpc/blob/{gitRevision}/{path}#L{line}",
  gitRevision: "main",
  tsconfig: join(runtime, "tsconfig.json"),
  readme: "none",
  out: join(top, "docs/api"),
  excludePrivate: true,
  excludeInternal: true,
  excludeExternals: true,
  // Connect's own types are documented by Connect.
  externalSymbolLinkMappings: {
    "@connectrpc/connect": { "*": "https://connectrpc.com/docs/node/using-clients" },
  },
  // A helper type: nobody names it.
  intentionallyNotExported: ["HandlerOf", "workerType"],
  treatWarningsAsErrors: true,
  validation: { notExported: true, invalidLink: true, notDocumented: false },
});
const project = await application.convert();
if (project) {
  application.validate(project);
  if (!process.argv.includes("--check")) {
    await application.generateOutputs(project);
  }
}
process.exitCode =
  !project || application.logger.hasErrors() || application.logger.hasWarnings() ? 1 : 0;
