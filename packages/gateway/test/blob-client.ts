import { createHash } from "node:crypto";
import { type IncomingMessage, request } from "node:http";
import { connect } from "@jetrpc/runtime/node";

/** How a PUT is sent. */
export interface Put {
  readonly headers?: Record<string, string>;
  /** Cuts the connection after so many bytes. */
  readonly cutAt?: number;
  /** Sends no Content-Length. */
  readonly chunked?: boolean;
  /** Called when so many bytes were sent as are given; the rest waits for it. */
  readonly halfway?: () => Promise<unknown>;
}

/** What a server answered. */
export interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** Puts bytes as a client over HTTP/1.1 does; undefined when the connection ended without an answer. */
export async function put(
  url: string,
  bytes: Uint8Array,
  { headers = {}, cutAt, chunked, halfway }: Put = {},
): Promise<Answered | undefined> {
  const length = chunked ? {} : { "content-length": String(bytes.length) };
  const sent = request(url, { method: "PUT", agent: false, headers: { ...length, ...headers } });
  const answered = new Promise<Answered | undefined>((resolve) => {
    sent.on("error", () => resolve(undefined));
    sent.on("close", () => resolve(undefined));
    sent.on("response", async (response) => resolve(await read(response)));
  });
  sent.flushHeaders();
  const piece = 64 * 1024;
  const end = cutAt ?? bytes.length;
  for (let at = 0; at < end && !sent.destroyed; at += piece) {
    if (halfway && at >= end / 2 && at - piece < end / 2) {
      await Promise.race([halfway(), answered]);
    }
    if (!sent.write(bytes.subarray(at, Math.min(at + piece, end)))) {
      const drained = new Promise<void>((resolve) => sent.once("drain", resolve));
      await Promise.race([drained, answered]);
    }
  }
  if (cutAt === undefined) {
    sent.end();
  } else {
    sent.destroy();
  }
  return answered;
}

async function read(response: IncomingMessage): Promise<Answered> {
  const parts: Buffer[] = [];
  try {
    for await (const part of response) {
      parts.push(part);
    }
  } catch {
    // What came is told.
  }
  const { statusCode: status = 0, headers } = response;
  return { status, headers, text: Buffer.concat(parts).toString() };
}

/** How many bytes of an upload are there. */
export async function offsetOf(url: string): Promise<number> {
  const { headers } = await fetch(url, { method: "HEAD" });
  return Number(headers.get("upload-offset"));
}

/** `Content-Range` of the bytes from an offset on. */
export function rest(bytes: Uint8Array, from: number, to = bytes.length): Record<string, string> {
  // Without bytes it only completes what is there.
  const part = from === to ? "*" : `${from}-${to - 1}`;
  return { "content-range": `bytes ${part}/${bytes.length}` };
}

/** The digest of bytes as Object Store writes it. */
export function digestOf(bytes: Uint8Array): string {
  return `SHA-256=${createHash("sha256").update(bytes).digest("base64").replaceAll("+", "-").replaceAll("/", "_")}`;
}

/** Readers of the payloads of the service of Blobs. */
export async function readersAt(natsUrl: string): Promise<number> {
  const root = await connect({ nats: { servers: natsUrl } });
  const reply = await root.nats.request("$JS.API.CONSUMER.NAMES.OBJ_BLOB_PAYLOAD");
  await root.close();
  return reply.json<{ total: number }>().total;
}
