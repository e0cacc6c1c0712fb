import { createHash } from "node:crypto";
import { Random } from "./random.js";

/** The size of a read or a write: chunks do not begin where pieces do. */
const pieceBytes = 50_000;

/** The bytes of a file that a seed repeats, in pieces. */
export function* fileOf(seed: number, size: number): Generator<Uint8Array> {
  const random = new Random(seed);
  for (let rest = size; rest > 0; rest -= pieceBytes) {
    yield Uint8Array.from({ length: Math.min(rest, pieceBytes) }, () => random.between(0, 255));
  }
}

/** The same bytes with each bit turned: what a conversion gives back. */
export async function* turned(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of pieces) {
    yield piece.map((byte) => byte ^ 0xff);
  }
}

/** The digest of a file, as a Blob has it. */
export async function digestOf(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of pieces) {
    hash.update(piece);
  }
  return `SHA-256=${hash.digest("base64url")}=`;
}
