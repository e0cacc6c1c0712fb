import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@jetrpc/runtime";
import { BufMissing, runBuf } from "../schema.js";
import type { Verdict } from "./verdict.js";

/** buf ends with this code when it has found something. */
const foundSome = 100;

/**
 * What `buf breaking` finds between two schemas, by a category of its rules. Throws
 * InvalidArgument when buf cannot compare them, BufMissing.
 */
export async function bufBreaking(
  before: readonly DescService[],
  after: readonly DescService[],
  category: string,
): Promise<Verdict[]> {
  const folder = mkdtempSync(join(tmpdir(), "jetrpc-check-"));
  try {
    const write = (name: string, services: readonly DescService[]) => {
      const path = join(folder, name);
      writeFileSync(path, imageOf(services));
      return path;
    };
    const output = await runBuf(
      [
        ...["breaking", write("after.binpb", after), "--against", write("before.binpb", before)],
        ...["--error-format", "json"],
        ...["--config", JSON.stringify({ version: "v2", breaking: { use: [category] } })],
      ],
      { okCodes: [0, foundSome] },
    );
    return output
      .toString("utf8")
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map(verdictOf);
  } catch (cause) {
    if (cause instanceof BufMissing || cause instanceof ConnectError) {
      throw cause;
    }
    throw new ConnectError(`buf breaking failed: ${String(cause)}`, Code.InvalidArgument);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The FileDescriptorSet of services and of all that their files import. */
export function imageOf(services: readonly DescService[]): Uint8Array {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile) => {
    if (!files.has(file.name)) {
      file.dependencies.forEach(add);
      files.set(file.name, file);
    }
  };
  for (const { file } of services) {
    add(file);
  }
  const set = create(FileDescriptorSetSchema, {
    file: [...files.values()].map(({ proto }) => proto),
  });
  return toBinary(FileDescriptorSetSchema, set);
}

function verdictOf(line: string): Verdict {
  const { path, start_line, type, message } = JSON.parse(line) as {
    path?: string;
    start_line?: number;
    type: string;
    message: string;
  };
  const place = path === undefined ? "" : `${path}${start_line ? `:${start_line}` : ""}: `;
  return {
    level: "error",
    rule: `buf:${type}`,
    message: `${place}${message.replace(/ See https:.*$/s, "")}`,
  };
}
