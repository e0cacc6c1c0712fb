import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { Code, ConnectError, openBlob } from "@jetrpc/runtime";
import type { Target } from "./target.js";

/**
 * Sends a Blob of a call: GET /files/service/method/owner/id/index. It is saved, never shown: its
 * type is whatever a caller said. Throws NotFound, and what reading it throws.
 */
export async function sendFile(
  target: Target,
  path: string,
  response: ServerResponse,
): Promise<void> {
  const [service, method, owner, callId, index] = partsOf(path);
  const { operator } = target.operator(service);
  const story = await operator.showCall({ method, owner, callId });
  const found = (await story.blobs())[index];
  if (!found) {
    throw new ConnectError(`call "${callId}" has no file ${index}`, Code.NotFound);
  }
  const { blob, fileName, size } = found;
  const plain = fileName.replaceAll(/[^\w.() -]/g, "_") || "file";
  response.writeHead(200, {
    "content-type": "application/octet-stream",
    "content-length": size,
    "content-disposition": `attachment; filename="${plain}"; filename*=UTF-8''${encodeURIComponent(fileName || "file").replaceAll("'", "%27")}`,
    "cache-control": "no-store",
  });
  // A file that is not whole ends without its length: the browser tells.
  await pipeline(openBlob(blob), response).catch(() => response.destroy());
}

function partsOf(path: string): [string, string, string, string, number] {
  let parts: string[] = [];
  try {
    parts = path.split("/").slice(2).map(decodeURIComponent);
  } catch {
    // Said below.
  }
  const [service = "", method = "", owner = "", callId = "", index = ""] = parts;
  if (parts.length !== 5 || !/^\d{1,9}$/.test(index)) {
    throw new ConnectError("there is no such file", Code.NotFound);
  }
  return [service, method, owner, callId, Number(index)];
}
