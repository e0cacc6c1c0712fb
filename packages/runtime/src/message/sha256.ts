import { base64Encode } from "@bufbuild/protobuf/wire";
import { sha256 } from "js-sha256";

/** A SHA-256 that is fed piece by piece. */
export interface Sha256 {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array | number[];
}

let create: () => Sha256 = () => sha256.create();

/** Sets where hashes come from. Default: JavaScript, which is several times slower than Node's own. */
export function useSha256(creator: () => Sha256): void {
  create = creator;
}

/** Begins a hash. */
export function createSha256(): Sha256 {
  return create();
}

/** Ends a hash: the digest as Object Store writes it. */
export function digestText(hash: Sha256): string {
  const text = base64Encode(new Uint8Array(hash.digest()));
  return `SHA-256=${text.replaceAll("+", "-").replaceAll("/", "_")}`;
}
