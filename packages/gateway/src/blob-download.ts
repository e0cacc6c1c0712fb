import type { ServerResponse } from "node:http";
import { Code, ConnectError } from "@connectrpc/connect";
import { readBlob } from "@jetrpc/runtime/node";
import type { BlobExchange } from "./blob-exchange.js";
import { cut } from "./exchange.js";
import { dispositionOf } from "./file-name.js";
import { type Answer, Refusal, send } from "./refuse.js";

/** Types that browsers may show in a page of their own: they have no scripts. */
const shown =
  /^(?:image\/(?:avif|bmp|gif|jpeg|png|webp)|audio\/[\w.+-]+|video\/[\w.+-]+|text\/plain)$/;

const mediaType = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;\s*[\w-]+=(?:[\w.+-]+|"[\w .+-]*"))*$/;

/** Answers a GET or HEAD of a Blob of a response. */
export async function answerDownload(exchange: BlobExchange, name: string): Promise<void> {
  const { request, response, left: client, connection, desc, signal } = exchange;
  const query = new URL(request.url ?? "", "http://gateway").searchParams;
  const size = Number(query.get("size") || Number.NaN);
  const digest = query.get("digest") ?? "";
  if (!Number.isSafeInteger(size) || size < 0 || !/^SHA-256=[\w-]{43}=$/.test(digest)) {
    const text = "the URL of a Blob has its size and its digest: ?size=…&digest=…";
    throw new ConnectError(text, Code.InvalidArgument);
  }
  const etag = `"${digest.slice("SHA-256=".length)}"`;
  const range = rangeOf(exchange, etag, size);
  const { start, end } = range ?? { start: 0, end: size };
  const pieces = held(readBlob(connection, desc, { name, size, digest }, Math.min(start, end)));
  const headers = {
    ...presentation(query),
    "accept-ranges": "bytes",
    "cache-control": "private, no-cache, no-transform",
    etag,
  };
  const bare = (status: number, more: Record<string, string> = {}): Promise<void> =>
    send(request, response, { status, headers: { ...headers, ...more } } satisfies Answer);
  try {
    const first = await firstOf(pieces, name);
    const known = String(request.headers["if-none-match"] ?? "");
    if (known === "*" || known.split(/\s*,\s*/).some((tag) => tag.replace(/^W\//, "") === etag)) {
      return await bare(304);
    }
    if (range && start >= end) {
      return await bare(416, { "content-range": `bytes */${size}` });
    }
    const status = range ? 206 : 200;
    const head = {
      "content-length": String(end - start),
      ...(range && { "content-range": `bytes ${start}-${end - 1}/${size}` }),
    };
    if (request.method === "HEAD") {
      return await bare(status, head);
    }
    const out = response as ServerResponse;
    out.writeHead(status, { "x-content-type-options": "nosniff", ...headers, ...head });
    let left = end - start;
    for (let next = first; !next.done && left > 0; next = await pieces.next()) {
      const piece = next.value.subarray(0, left);
      left -= piece.length;
      if (!signal.aborted && !client.has && !out.write(piece)) {
        await client.heard("drain");
      }
      if (signal.aborted || client.has) {
        left += piece.length;
        break;
      }
    }
    if (left > 0) {
      cut(response);
    } else {
      out.end();
      await client.heard("finish");
    }
  } catch (error) {
    if (!response.headersSent) {
      throw error;
    }
    exchange.log(`a download of ${name} was cut: ${String(error)}`);
    cut(response);
  } finally {
    await pieces.return(undefined);
  }
}

/** Yields each piece when the next one is there: the last one when all was checked. */
async function* held(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, undefined, undefined> {
  let last: Uint8Array | undefined;
  for await (const piece of pieces) {
    if (last) {
      yield last;
    }
    last = piece;
  }
  if (last) {
    yield last;
  }
}

async function firstOf(
  pieces: AsyncGenerator<Uint8Array, undefined, undefined>,
  name: string,
): Promise<IteratorResult<Uint8Array, undefined>> {
  try {
    return await pieces.next();
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.DataLoss) {
      const text = `${name} is not there, or not as the URL says: ${error.rawMessage}`;
      throw new Refusal(text, Code.NotFound, 404);
    }
    throw error;
  }
}

/**
 * The bytes that are asked for, of one range; undefined for all of them. A range that has none
 * begins at its end or behind it. Several ranges are answered by all bytes, which is allowed.
 */
function rangeOf(
  { request }: BlobExchange,
  etag: string,
  size: number,
): { start: number; end: number } | undefined {
  const { range = "", "if-range": unchanged } = request.headers;
  const [match, from = "", to = ""] = /^bytes=\s*(\d*)-(\d*)\s*$/.exec(range) ?? [];
  if (match === undefined || (from === "" && to === "") || (unchanged ?? etag) !== etag) {
    return undefined;
  }
  if (from !== "" && to !== "" && Number(to) < Number(from)) {
    return undefined;
  }
  const start = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === "" || to === "" ? size : Math.min(size, Number(to) + 1);
  return { start, end };
}

/** How a browser is to take the bytes: it runs nothing of them. */
function presentation(query: URLSearchParams): Record<string, string> {
  const given = query.get("contentType") ?? "";
  const type = mediaType.test(given) && given.length < 256 ? given : "application/octet-stream";
  const bare = type.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  const kind = query.has("inline") && shown.test(bare) ? "inline" : "attachment";
  return {
    "content-type": type,
    "content-disposition": dispositionOf(kind, (query.get("fileName") ?? "").slice(0, 1024)),
    "content-security-policy":
      "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
    "cross-origin-resource-policy": "same-site",
  };
}
