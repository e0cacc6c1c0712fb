import { Code, ConnectError } from "@connectrpc/connect";
import type { Blob } from "@jetrpc/runtime";
import { digestText, startHash } from "@jetrpc/runtime/caller";
import { attempts, type Persistence } from "./attempts.js";
import { errorOfAnswer } from "./blob-answer.js";
import { connectionLost } from "./connection-lost.js";

/**
 * Reads a Blob, and goes on from its next byte when the connection is lost. Throws DataLoss when
 * it is gone or damaged.
 */
export async function* downloadBlob(
  url: string,
  { size, digest }: Blob,
  fetch: typeof globalThis.fetch,
  persistence: Persistence,
): AsyncGenerator<Uint8Array, void, undefined> {
  const whole = Number(size);
  const hash = await startHash({ options: {} });
  let at = 0;
  const open = async function* (signal: AbortSignal) {
    if (at > 0 && at === whole) {
      return;
    }
    const headers: Record<string, string> = at > 0 ? { Range: `bytes=${at}-` } : {};
    const response = await fetch(url, { headers, signal });
    if (response.status === 404) {
      throw new ConnectError("a Blob is gone", Code.DataLoss);
    }
    if (response.status !== (at > 0 ? 206 : 200)) {
      throw await errorOfAnswer("cannot read a Blob", response);
    }
    const reader = response.body?.getReader();
    for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
      yield next.value;
    }
    if (at < whole) {
      throw connectionLost(url, new Error("the response ended too early"));
    }
  };
  for await (const chunk of attempts(open, persistence)) {
    at += chunk.length;
    hash.update(chunk);
    yield chunk;
  }
  if (at !== whole || digestText(hash) !== digest) {
    throw new ConnectError("a Blob is damaged: it has other bytes", Code.DataLoss);
  }
}
