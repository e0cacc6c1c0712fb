import { existsSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { type DescMessage, type Message, type Registry, toJson } from "@bufbuild/protobuf";
import { type Blob, Code, ConnectError } from "@jetrpc/runtime";
import { saveBlob } from "@jetrpc/runtime/node";
import { UsageError } from "../exit-code.js";
import { isFolder, makeFolder } from "../make-folder.js";
import { print } from "../output.js";
import { mapLeaves } from "./json-leaves.js";
import { blobsOf } from "./message-blobs.js";

/**
 * Prints the responses of a call, each as JSON on a line. Their Blobs are saved first where
 * `output` says so, a file or a folder, and their JSON then has `file`, the path. Throws UsageError
 * for an output that cannot be: before the call is made, as its response would be lost.
 */
export class ResponsePrinter {
  private saved = 0;

  constructor(
    private readonly schema: DescMessage,
    private readonly registry: Registry,
    private readonly output?: string,
    private readonly write: (line: string) => void = print,
  ) {
    if (output !== undefined) {
      checkOutput(output);
    }
  }

  /** Errors: those of `saveBlob()`; UsageError for a second Blob where one file is named. */
  async print(message: Message): Promise<void> {
    const { schema, registry } = this;
    const paths = new Map<string, string>();
    for (const blob of this.output === undefined ? [] : blobsOf(schema, message)) {
      if (this.saved > 0 && !meansFolder(this.output as string)) {
        throw new UsageError(
          `--output ${this.output} is one file, and the response has several Blobs: name a folder, ${this.output}/`,
        );
      }
      const path = await saveTo(this.output as string, blob);
      this.saved++;
      paths.set(blob.object, path);
    }
    const json = mapLeaves(schema, toJson(schema, message, { registry }), ({ kind, value }) => {
      const { object } = Object(value) as { object?: string };
      const file = kind === "blob" ? paths.get(object ?? "") : undefined;
      return file === undefined ? value : { ...Object(value), file };
    });
    this.write(JSON.stringify(json));
  }
}

/**
 * Saves a Blob as a file, or in a folder, and returns the path. Errors: those of `saveBlob()`;
 * FailedPrecondition where nothing can be written.
 */
export async function saveTo(output: string, blob: Blob): Promise<string> {
  let path = output;
  try {
    if (meansFolder(output)) {
      makeFolder(output);
      path = freePath(output, safeName(blob.fileName));
    }
    await saveBlob(blob, path);
  } catch (cause) {
    if (cause instanceof ConnectError) {
      throw cause;
    }
    const text = `--output ${output} cannot be written: ${(cause as Error).message}`;
    throw new ConnectError(text, Code.FailedPrecondition, undefined, undefined, cause);
  }
  return path;
}

function checkOutput(output: string): void {
  const folder = meansFolder(output) ? output.replace(/(?<=.)\/+$/, "") : dirname(output);
  if (existsSync(folder) ? !isFolder(folder) : !output.endsWith("/")) {
    throw new UsageError(`--output ${output} cannot be written: there is no folder ${folder}`);
  }
}

function meansFolder(output: string): boolean {
  return output.endsWith("/") || isFolder(output);
}

/** The name of a file without folders: workers give it, and it may be anything. */
function safeName(fileName: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a name with one would be a trap
  const name = basename(fileName.replaceAll("\\", "/")).replaceAll(/[\x00-\x1f\x7f]/g, "");
  return name === "" || name.startsWith(".") ? `blob${name.replaceAll(/^\.+/g, "-")}` : name;
}

/** A path that no file has. */
function freePath(folder: string, name: string): string {
  const extension = extname(name);
  const stem = name.slice(0, name.length - extension.length);
  for (let number = 1; ; number++) {
    const path = join(folder, number === 1 ? name : `${stem}-${number}${extension}`);
    if (!existsSync(path)) {
      return path;
    }
  }
}
