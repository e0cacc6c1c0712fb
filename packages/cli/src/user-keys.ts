import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import { createUserKey, inboxPrefixOf, type User } from "@jetrpc/runtime/operator";
import { nkeys } from "@nats-io/nats-core";
import { UsageError } from "./exit-code.js";
import { makeFolder } from "./make-folder.js";

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
  try {
    makeFolder(folder, 0o700);
  } catch (cause) {
    throw new UsageError(`--keys ${folder} cannot be a folder: ${(cause as Error).message}`);
  }
  try {
    writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    // Half a file would be taken for a key the next time; one that has come meanwhile is somebody's.
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") {
      rmSync(path, { force: true });
    }
    const text = `${path} cannot be written: ${(cause as Error).message}`;
    throw new ConnectError(text, Code.FailedPrecondition, undefined, undefined, cause);
  }
  return publicKey;
}

function publicKeyIn(path: string): string {
  const text = statSync(path).isFile() ? readFileSync(path, "utf8") : "";
  const seed = /^NATS_NKEY_SEED=(SU\w+)$/m.exec(text)?.[1];
  try {
    return nkeys.fromSeed(new TextEncoder().encode(seed)).getPublicKey();
  } catch {
    throw new UsageError(`${path} has no NATS_NKEY_SEED of a user: mend it, or remove it`);
  }
}
