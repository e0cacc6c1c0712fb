import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";

const formats = [
  { module: ts.ModuleKind.ESNext, extension: ".js", declarations: ".d.ts" },
  { module: ts.ModuleKind.CommonJS, extension: ".cjs", declarations: ".d.cts" },
];

/**
 * Builds a generated package: `dist` gets its index and all files that this imports, at
 * their paths below `root`, as ES modules and CommonJS with declarations. Each file is
 * translated by itself, and by our own TypeScript: other installed versions do not
 * matter. Throws an Error that names a file that is missing or is no TypeScript.
 */
export function buildPackage(packageFolder: string, root: string): void {
  const folder = resolve(packageFolder);
  const top = resolve(folder, root);
  for (const [path, source] of readSources(join(folder, "index.ts"))) {
    const to = join(folder, "dist", relative(top, path).replace(/\.ts$/, ""));
    mkdirSync(dirname(to), { recursive: true });
    const types = translate(ts.transpileDeclaration, path, source, ts.ModuleKind.ESNext);
    for (const { module, extension, declarations } of formats) {
      const text = importByExtension(source, extension);
      writeFileSync(`${to}${extension}`, translate(ts.transpileModule, path, text, module));
      writeFileSync(`${to}${declarations}`, importByExtension(types, extension));
    }
  }
}

/** Relative imports of a source, which end with `.js`, end with something else. */
function importByExtension(source: string, extension: string): string {
  let text = source;
  for (const { fileName, pos } of ts.preProcessFile(source).importedFiles.toReversed()) {
    if (fileName.startsWith(".")) {
      const start = pos + 1; // after the quotation mark
      const path = fileName.replace(/\.js$/, extension);
      text = `${text.slice(0, start)}${path}${text.slice(start + fileName.length)}`;
    }
  }
  return text;
}

/** The texts of a file and of all that it imports by relative paths. */
function readSources(entry: string): Map<string, string> {
  const sources = new Map<string, string>();
  const rest = [entry];
  for (let path = rest.pop(); path !== undefined; path = rest.pop()) {
    if (sources.has(path)) {
      continue;
    }
    if (!existsSync(path)) {
      throw new Error(`${path} is missing: run buf generate`);
    }
    const text = readFileSync(path, "utf8");
    sources.set(path, text);
    for (const { fileName } of ts.preProcessFile(text).importedFiles) {
      if (fileName.startsWith(".")) {
        rest.push(resolve(dirname(path), fileName.replace(/\.js$/, ".ts")));
      }
    }
  }
  return sources;
}

function translate(
  transpile: typeof ts.transpileModule,
  path: string,
  text: string,
  module: ts.ModuleKind,
): string {
  const compilerOptions = { module, target: ts.ScriptTarget.ES2022 };
  const options = { fileName: path, reportDiagnostics: true, compilerOptions };
  const { outputText, diagnostics = [] } = transpile(text, options);
  if (diagnostics.length > 0) {
    const texts = diagnostics.map((its) => ts.flattenDiagnosticMessageText(its.messageText, "\n"));
    throw new Error(`${path} cannot be built: ${texts.join("; ")}`);
  }
  return outputText;
}
