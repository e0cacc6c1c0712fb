import { Code, ConnectError } from "@connectrpc/connect";
import { digestText, type Source, startHash } from "@jetrpc/runtime/caller";
import { attempt, type Persistence } from "./attempts.js";
import { errorOfAnswer } from "./blob-answer.js";
import { connectionLost } from "./connection-lost.js";

/** Browsers send no stream: a file goes in parts of so many bytes. */
const partBytes = 4 * 1024 * 1024;

/** How long a part may take, in ms. */
const partSilenceMs = 300_000;

/** How often a file is read again, where somebody else uploads for the same call. */
const maxTries = 2;

/** A Blob that is stored. */
export interface StoredBlob {
  readonly object: string;
  /** Absent of an empty one. */
  readonly size?: string;
  readonly digest: string;
}

/** How much of an upload is stored. */
interface Offset {
  readonly stored: number;
  readonly isComplete: boolean;
}

/** Uploads a Blob in parts, each of which goes on where a cut left it. */
export class BlobUpload {
  constructor(
    private readonly url: string,
    private readonly fetch: typeof globalThis.fetch,
    private readonly persistence: Persistence,
  ) {}

  /**
   * `mayBeThere` is whether somebody may have begun with it: who submits the same call again.
   * Throws AlreadyExists when all of another file is there.
   */
  async run({ open, isRereadable }: Source, mayBeThere: boolean): Promise<StoredBlob> {
    let there = mayBeThere ? await this.look() : nothing;
    for (let tries = 0; ; tries++) {
      try {
        return await this.send(open(), there);
      } catch (thrown) {
        const { code } = ConnectError.from(thrown);
        // Somebody who submits the same call has completed it meanwhile, or it has ended since then.
        const isShared = code === Code.AlreadyExists && !there.isComplete;
        const isGone = code === Code.Aborted;
        // What was there is not the beginning of this file; the gateway has removed it.
        const isOther = code === Code.InvalidArgument && there !== nothing;
        if (!isRereadable || tries === maxTries || !(isShared || isGone || isOther)) {
          throw thrown;
        }
        there = isShared ? await this.look() : nothing;
      }
    }
  }

  private look(): Promise<Offset> {
    return this.repeat((signal) => this.offset(signal));
  }

  private async send(
    source: AsyncIterable<Uint8Array>,
    { stored, isComplete }: Offset,
  ): Promise<StoredBlob> {
    // Proves that what was there is the beginning of the same file.
    const hash = stored > 0 || isComplete ? await startHash({ options: {} }) : undefined;
    for await (const { bytes, start, isLast } of partsOf(source)) {
      hash?.update(bytes);
      const end = start + bytes.length;
      if (!isLast && end <= stored) {
        continue;
      }
      const digest = isLast && hash ? digestText(hash) : undefined;
      const blob = await this.sendPart({ bytes, start, stored, isLast, digest });
      if (blob) {
        return blob;
      }
    }
    throw new ConnectError("the gateway did not complete the upload of a Blob", Code.Internal);
  }

  private sendPart(part: Part): Promise<StoredBlob | undefined> {
    const { bytes, start, isLast, digest } = part;
    const end = start + bytes.length;
    return this.repeat(async (signal, count) => {
      const stored = count === 0 ? part.stored : (await this.offset(signal)).stored;
      const from = Math.min(Math.max(stored, start), end);
      if (count > 0 && stored < start) {
        const text = "parts of the upload of a Blob are gone: submit the call again";
        throw new ConnectError(text, Code.Aborted);
      }
      if (from === end && !isLast) {
        return undefined;
      }
      const range = from === end ? "*" : `${from}-${end - 1}`;
      const response = await this.fetch(this.url, {
        method: "PUT",
        headers: {
          "Content-Range": `bytes ${range}/${isLast ? end : "*"}`,
          "Content-Type": "application/octet-stream",
          ...(digest && { "Repr-Digest": reprDigest(digest) }),
        },
        body: bytes.slice(from - start),
        signal,
      });
      if (response.status === 409) {
        throw await this.conflict(response);
      }
      if (response.status === 408) {
        // It stood still for too long, as in a tunnel.
        throw connectionLost(this.url, await errorOfAnswer("cannot store a Blob", response));
      }
      if (!response.ok) {
        throw await errorOfAnswer("cannot store a Blob", response);
      }
      return isLast ? ((await response.json()) as StoredBlob) : undefined;
    });
  }

  /** A request that was cut may still go on with the upload: then it is tried again. */
  private async conflict(response: Response): Promise<ConnectError> {
    const error = await errorOfAnswer("cannot store a Blob", response);
    return response.headers.get("upload-complete") === "?1"
      ? new ConnectError(
          `${error.rawMessage}: the call id was used for another request`,
          Code.AlreadyExists,
        )
      : new ConnectError(error.rawMessage, Code.Unavailable);
  }

  private async offset(signal: AbortSignal): Promise<Offset> {
    const response = await this.fetch(this.url, { method: "HEAD", signal });
    if (!response.ok) {
      throw await errorOfAnswer("cannot ask for the upload of a Blob", response);
    }
    return {
      stored: Number(response.headers.get("upload-offset") ?? 0),
      isComplete: response.headers.get("upload-complete") === "?1",
    };
  }

  private repeat<T>(call: (signal: AbortSignal, count: number) => Promise<T>): Promise<T> {
    return attempt(call, { ...this.persistence, silenceMs: partSilenceMs });
  }
}

const nothing: Offset = { stored: 0, isComplete: false };

interface Part {
  readonly bytes: Uint8Array;
  /** Where it begins in the file. */
  readonly start: number;
  readonly isLast: boolean;
  /** How much was stored before. */
  readonly stored: number;
  /** That of the whole file. */
  readonly digest: string | undefined;
}

/** The parts of a file; the last one may be empty. A part is the same memory as the one before it. */
async function* partsOf(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Pick<Part, "bytes" | "start" | "isLast">, void, undefined> {
  const buffer = new Uint8Array(partBytes);
  let start = 0;
  let filled = 0;
  for await (const chunk of source) {
    if (!(chunk instanceof Uint8Array)) {
      const text = `the source of a Blob gave a ${typeof chunk}: it must give Uint8Arrays`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    for (let at = 0; at < chunk.length; ) {
      if (filled === partBytes) {
        yield { bytes: buffer, start, isLast: false };
        start += filled;
        filled = 0;
      }
      const take = Math.min(partBytes - filled, chunk.length - at);
      buffer.set(chunk.subarray(at, at + take), filled);
      filled += take;
      at += take;
    }
  }
  yield { bytes: buffer.subarray(0, filled), start, isLast: true };
}

/** A digest of Object Store as HTTP writes it. */
function reprDigest(digest: string): string {
  const text = digest.slice("SHA-256=".length).replaceAll("-", "+").replaceAll("_", "/");
  return `sha-256=:${text}:`;
}
