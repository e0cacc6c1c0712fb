import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { basename } from "node:path";
import { pipeline } from "node:stream/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Blob } from "../gen/jetrpc/v1/blob_pb.js";
import { type BlobInfo, blobOf, openBlob } from "../objects/blob.js";

/** How much of a file is read at once, in bytes. */
const readBytes = 128 * 1024;

/** Makes a Blob of a file, which is read when its message is sent. Its name is the file's. */
export function fileBlob(
  path: string,
  { contentType, fileName = basename(path) }: BlobInfo = {},
): Blob {
  const open = () => createReadStream(path, { highWaterMark: readBytes });
  return blobOf(open, { contentType, fileName });
}

/**
 * Writes a Blob to a file. The file has its name only when it is complete and its
 * digest is right; until then it lies beside it. A pipe or a device, as `/dev/null`, is written to.
 *
 * Errors: those of {@link openBlob}, FailedPrecondition when the message has no
 * Blob, and what writing to the disk throws.
 */
export async function saveBlob(blob: Blob | undefined, path: string): Promise<void> {
  if (!blob) {
    throw new ConnectError("the field has no Blob to save", Code.FailedPrecondition);
  }
  if (!((await stat(path).catch(() => undefined))?.isFile() ?? true)) {
    return await pipeline(openBlob(blob), createWriteStream(path));
  }
  const partial = `${path}.${randomUUID()}.partial`;
  try {
    await pipeline(openBlob(blob), createWriteStream(partial, { flags: "wx" }));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
