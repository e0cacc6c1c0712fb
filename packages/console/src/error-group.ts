import { createHash } from "node:crypto";
import type { ConnectError } from "@jetrpc/runtime";
import { codeName } from "@jetrpc/runtime/schema";

/** Errors whose texts differ in numbers, ids and quotations only. */
export interface ErrorGroup {
  /** Names it. */
  readonly key: string;
  readonly code: string;
  readonly pattern: string;
}

/** No pattern is longer: the beginning tells errors apart. */
const maxPattern = 200;

/** The group of the error of a failed call. */
export function errorGroupOf(
  service: string,
  method: string,
  error: ConnectError | undefined,
): ErrorGroup {
  const code = error ? codeName(error.code) : "";
  const pattern = (error?.rawMessage ?? "")
    .slice(0, 4 * maxPattern)
    .replaceAll(/"[^"]*"|'[^']*'|`[^`]*`|“[^”]*”/g, "…")
    .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, "#")
    // Ids have digits and letters; words have no digits.
    .replaceAll(/[\w.-]*\d[\w.-]*/g, "#")
    .slice(0, maxPattern);
  const key = createHash("sha256")
    .update(JSON.stringify([service, method, code, pattern]))
    .digest("base64url")
    .slice(0, 16);
  return { key, code, pattern };
}
