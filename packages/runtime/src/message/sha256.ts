import { base64Encode } from "@bufbuild/protobuf/wire";
import { sha256 } from "js-sha256";

/** A SHA-256 that is fed piece by piece. */
export interface Sha256 {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array | number[];
}

/** Begins a hash in JavaScript: for who has none that is faster. */
export function createSha256(): Sha256 {
  return sha256.create();
}

/** Ends a hash: the digest as Object Store writes it. */
export function digestText(hash: Sha256): string {
  const text = base64Encode(new Uint8Array(hash.digest()));
  return `SHA-256=${text.replaceAll("+", "-").replaceAll("/", "_")}`;
}
