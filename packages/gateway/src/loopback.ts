import { isIP } from "node:net";

/** True for an address that only processes of this machine reach. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/**
 * True for a Host header that names this machine. A page of a stranger can have its own name
 * lead here; its requests then name its host.
 */
export function isLoopbackHost(header: string): boolean {
  return isLoopback(header.replace(/:\d+$/, "").replaceAll(/^\[|\]$/g, ""));
}
