import { Code } from "@connectrpc/connect";
import { Refusal } from "./refuse.js";

const prefix = "/blobs/";

/** True for the path of a Blob. */
export function isBlobPath(path: string): boolean {
  return path.startsWith(prefix);
}

/** A Blob of a request, before its call is submitted, or one of a response. */
export type BlobTarget = { readonly service: string; readonly method: string } & (
  | { readonly callId: string; readonly index: number }
  | { readonly callId?: undefined; readonly object: string }
);

/**
 * Reads `/blobs/<service>/<method>/<call id>/<n>` and `/blobs/<service>/<object>`. Throws NotFound
 * for any other path.
 */
export function parseBlobPath(path: string): BlobTarget {
  const parts = path.slice(prefix.length).split("/").map(decoded);
  const [service = "", second = "", callId = "", number = ""] = parts;
  if (parts.length === 4 && callId !== "" && /^(?:0|[1-9]\d{0,4})$/.test(number)) {
    return { service, method: second, callId, index: Number(number) };
  }
  const [, method, ...rest] = second.split(".");
  if (parts.length === 2 && method && rest.length > 0) {
    return { service, method, object: second };
  }
  const text = `${path} is no Blob: /blobs/<service>/<method>/<call id>/<n> or /blobs/<service>/<object>`;
  throw new Refusal(text, Code.NotFound, 404);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
