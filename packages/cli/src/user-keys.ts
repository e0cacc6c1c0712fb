import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createUserKey, inboxPrefixOf, type User } from "@jetrpc/runtime/operator";
import { nkeys } from "@nats-io/nats-core";
import { UsageError } from "./exit-code.js";

/**
 * The public key of a user. Its seed is in `<user>.env` of the folder, with what else
 * its connections need; the file is made when it is absent, readable by its owner.
 * Throws UsageError when what is there has no seed.
 */
export function keyOf(folder: string, { name, grants, domain }: User): string {
  const inboxPrefix = inboxPrefixOf(name);
  const path = join(folder, `${name}.env`);
  if (existsSync(path)) {
    return publicKeyIn(path);
  }
  const { publicKey, seed } = createUserKey();
  const owner = grants.find((grant) => grant.owner !== undefined)?.owner;
  const lines = [
    `NATS_NKEY_SEED=${seed}`,
    `NATS_INBOX_PREFIX=${inboxPrefix}`,
    ...(owner === undefined ? [] : [`JETRPC_OWNER=${owner}`]),
    ...(domain === undefined ? [] : [`JETRPC_DOMAIN=${domain}`]),
  ];
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o600, flag: "wx" });
  return publicKey;
}

function publicKeyIn(path: string): string {
  const seed = /^NATS_NKEY_SEED=(SU\w+)$/m.exec(readFileSync(path, "utf8"))?.[1];
  try {
    return nkeys.fromSeed(new TextEncoder().encode(seed)).getPublicKey();
  } catch {
    throw new UsageError(`${path} has no NATS_NKEY_SEED of a user: mend it, or remove it`);
  }
}
