import type { IncomingHttpHeaders } from "node:http";
import { Code, ConnectError } from "@connectrpc/connect";

/** What a PUT says of the bytes that it brings. */
export interface UploadPart {
  /** Number of its first byte; undefined for a whole file, and for a part without bytes. */
  readonly first: number | undefined;
  /** How many bytes it brings; undefined when it does not say. */
  readonly length: number | undefined;
  /** Bytes of the file; undefined where they are not known yet. */
  readonly total: number | undefined;
  /** True for a file from its beginning to its end. */
  readonly isWhole: boolean;
}

/** Reads `Content-Range` and `Content-Length`. Throws InvalidArgument for what cannot be. */
export function partOf(headers: IncomingHttpHeaders): UploadPart {
  const { "content-range": range, "content-length": sent, "content-encoding": encoding } = headers;
  if (encoding !== undefined && encoding !== "identity") {
    throw wrong(`the bytes of a Blob are stored as they come: send them without ${encoding}`);
  }
  const body = sent === undefined ? undefined : Number(sent);
  if (range === undefined) {
    return { first: undefined, length: body, total: body, isWhole: true };
  }
  const [, from, to, all, of] = /^bytes (?:(\d+)-(\d+)\/(\d+|\*)|\*\/(\d+))$/.exec(range) ?? [];
  const first = from === undefined ? undefined : Number(from);
  const length = first === undefined ? 0 : Number(to) - first + 1;
  const total = all === "*" ? undefined : Number(all ?? of);
  const isSound =
    (first === undefined || (length > 0 && (total ?? first + length) >= first + length)) &&
    Number.isSafeInteger(total ?? 0) &&
    Number.isSafeInteger(length);
  if (!isSound) {
    throw wrong(
      `Content-Range is ${JSON.stringify(range)}, and must be like "bytes 1000-1999/5000", "bytes 1000-1999/*" or "bytes */5000"`,
    );
  }
  if (body !== undefined && body !== length) {
    throw wrong(`the body has ${body} bytes, and Content-Range says ${length}`);
  }
  return { first, length, total, isWhole: false };
}

/** The digest that a client expects, as Object Store writes it; undefined without one. */
export function expectedDigest(headers: IncomingHttpHeaders): string | undefined {
  const text = headers["repr-digest"];
  const [, base64] = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(String(text ?? "")) ?? [];
  if (text !== undefined && base64 === undefined) {
    throw wrong("Repr-Digest must be sha-256=:…:, the SHA-256 of the whole file in base64");
  }
  return base64 && `SHA-256=${base64.replaceAll("+", "-").replaceAll("/", "_")}`;
}

function wrong(text: string): ConnectError {
  return new ConnectError(text, Code.InvalidArgument);
}
