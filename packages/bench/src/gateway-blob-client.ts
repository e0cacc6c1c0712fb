// A client of `npm run bench:gateway-blob`, by plain HTTP: `gateway-blob-client.js <address> <bytes>
// <cuts>`. It uploads a file that it makes as it goes, has a worker copy it, and downloads the copy.
// Each way is cut so often, and goes on where it was. It tells how that went.

import { createCipheriv, createHash, randomUUID } from "node:crypto";
import { get, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

/** How a way went. */
export interface Way {
  readonly seconds: number;
  readonly cuts: number;
  /** SHA-256 of what was sent, or of what has come. */
  readonly digest: string;
}

/** The answer of the process. */
export interface BlobReply {
  readonly upload: Way;
  readonly download: Way;
  /** What the gateway says of the upload. */
  readonly digest: string;
}

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [address = "", bytesText, cutsText] = process.argv.slice(2);
const size = Number(bytesText);
const cuts = Number(cutsText);
const method = "bench.v1.BenchService/Copy";
const callId = randomUUID();
const uploadUrl = `${address}/blobs/${method}/${callId}/0`;
const pieceBytes = 64 * 1024;

/** The bytes of the file from an offset on: those of a cipher, so that no two parts are the same. */
function piecesFrom(offset: number): () => Buffer {
  const block = 16;
  const counter = Buffer.alloc(block);
  counter.writeBigUInt64BE(BigInt(Math.floor(offset / block)), 8);
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 7), counter);
  cipher.update(Buffer.alloc(offset % block));
  let at = offset;
  return () => {
    const piece = cipher.update(Buffer.alloc(Math.min(pieceBytes, size - at)));
    at += piece.length;
    return piece;
  };
}

/** Where the connections are cut: spread over the file. */
const cutAts = Array.from({ length: cuts }, (_, i) => Math.floor(((i + 1) * size) / (cuts + 1)));

async function uploaded(): Promise<number> {
  const { headers } = await fetch(uploadUrl, { method: "HEAD" });
  return Number(headers.get("upload-offset"));
}

/** Sends the file from an offset on, and cuts the connection at `cutAt`. The answer, if one came. */
function put(from: number, cutAt: number | undefined): Promise<string | undefined> {
  return new Promise((resolve) => {
    // Without bytes it only completes what is there.
    const part = from === size ? "*" : `${from}-${size - 1}`;
    const headers = { "content-range": `bytes ${part}/${size}`, "content-length": size - from };
    const sent = request(uploadUrl, { method: "PUT", agent: false, headers });
    sent.on("error", () => resolve(undefined));
    sent.on("response", async (response) => {
      const parts: Buffer[] = [];
      for await (const part of response) {
        parts.push(part as Buffer);
      }
      const text = Buffer.concat(parts).toString();
      const { statusCode } = response;
      // The cut request may still store what has come.
      if (statusCode !== 201 && statusCode !== 409) {
        throw new Error(`the upload was refused with ${statusCode}: ${text}`);
      }
      resolve(statusCode === 201 ? text : undefined);
    });
    const next = piecesFrom(from);
    let at = from;
    const write = () => {
      while (at < size) {
        if (cutAt !== undefined && at >= cutAt) {
          sent.destroy();
          return;
        }
        const piece = next();
        at += piece.length;
        if (!sent.write(piece)) {
          sent.once("drain", write);
          return;
        }
      }
      sent.end();
    };
    write();
  });
}

async function upload(): Promise<{ way: Way; blob: Record<string, string> }> {
  const start = performance.now();
  const left = [...cutAts];
  let cut = 0;
  let text: string | undefined;
  while (text === undefined) {
    const cutAt = left.shift();
    cut += cutAt === undefined ? 0 : 1;
    text = await put(await uploaded(), cutAt);
    await delay(text === undefined ? 100 : 0);
  }
  const seconds = (performance.now() - start) / 1000;
  const hash = createHash("sha256");
  const next = piecesFrom(0);
  for (let at = 0; at < size; ) {
    const piece = next();
    at += piece.length;
    hash.update(piece);
  }
  return {
    way: { seconds, cuts: cut, digest: hash.digest("base64url") },
    blob: JSON.parse(text) as Record<string, string>,
  };
}

/** Reads the file from an offset on, and cuts the connection at `cutAt`. How far it came. */
function read(
  url: string,
  from: number,
  cutAt: number,
  take: (piece: Buffer) => void,
): Promise<number> {
  return new Promise((resolve) => {
    let at = from;
    const taken = get(url, { agent: false, headers: { range: `bytes=${from}-` } }, (response) => {
      if (response.statusCode !== 206) {
        throw new Error(`the download was refused with ${response.statusCode}`);
      }
      response.on("data", (piece: Buffer) => {
        take(piece);
        at += piece.length;
        if (at >= cutAt && at < size) {
          response.destroy();
        }
      });
      response.on("error", () => undefined);
      response.on("close", () => resolve(at));
    });
    taken.on("error", () => resolve(at));
  });
}

async function download({ object, ...fields }: Record<string, string>): Promise<Way> {
  const url = `${address}/blobs/bench.v1.BenchService/${object}?${new URLSearchParams(fields)}`;
  const start = performance.now();
  const left = [...cutAts];
  const hash = createHash("sha256");
  let cut = 0;
  for (let at = 0; at < size; ) {
    const cutAt = left.shift() ?? size;
    cut += cutAt < size ? 1 : 0;
    at = await read(url, at, cutAt, (piece) => hash.update(piece));
  }
  const seconds = (performance.now() - start) / 1000;
  return { seconds, cuts: cut, digest: hash.digest("base64url") };
}

/** Has a worker copy the Blob. It may take longer than a client waits for headers. */
async function copy(given: Record<string, string>): Promise<Record<string, string>> {
  const accepted = await fetch(`${address}/${method}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "idempotency-key": callId,
      prefer: "respond-async",
    },
    body: JSON.stringify({ file: given }),
  });
  const { status, result } = (await accepted.json()) as Record<string, string>;
  for (;;) {
    const { state } = (await (await fetch(address + status)).json()) as { state: string };
    if (/QUEUED|RUNNING/.test(state)) {
      await delay(500);
    } else {
      const { response } = (await (await fetch(address + result)).json()) as {
        response: { file: Record<string, string> };
      };
      return response.file;
    }
  }
}

const { way, blob } = await upload();
const reply: BlobReply = {
  upload: way,
  download: await download(await copy(blob)),
  digest: `${blob["digest"]}`.replace(/^SHA-256=/, "").replace(/=$/, ""),
};
process.send?.(reply);
