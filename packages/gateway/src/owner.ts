import { createHash } from "node:crypto";

/** Marks owners whose name is a digest. */
const digestPrefix = "sha256:";

/**
 * The owner of somebody whom another system names, by the `sub` of a token or a mail address: the
 * name itself where it can be an owner, otherwise its SHA-256 digest. Two names never make
 * the same owner, and no name makes `_`, the owner of those who have none.
 */
export function ownerOf(name: string): string {
  const isOwner = /^[A-Za-z0-9_=+@:-]{1,128}$/.test(name);
  return isOwner && name !== "_" && !name.startsWith(digestPrefix)
    ? name
    : digestPrefix + createHash("sha256").update(name).digest("base64url");
}
