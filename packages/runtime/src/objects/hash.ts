import { base64Encode } from "@bufbuild/protobuf/wire";
import { LateCode } from "../message/late-code.js";
import type { Sha256 } from "../message/sha256.js";

const inJavaScript = /* @__PURE__ */ new LateCode("SHA-256", () => import("js-sha256"));

/** Begins the hash of an object. */
export async function startHash({
  options,
}: {
  options: { createSha256?: (() => Sha256) | undefined };
}): Promise<Sha256> {
  return options.createSha256?.() ?? (await inJavaScript.get()).sha256.create();
}

/** Ends a hash: the digest as Object Store writes it. */
export function digestText(hash: Sha256): string {
  const text = base64Encode(new Uint8Array(hash.digest()));
  return `SHA-256=${text.replaceAll("+", "-").replaceAll("/", "_")}`;
}
