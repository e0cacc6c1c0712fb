import querystring from "node:querystring";
import { Code, ConnectError } from "@jetrpc/runtime";
import { UsageError } from "./exit-code.js";

/** How long a monitoring port may take for an answer, in ms. */
const timeoutMs = 5_000;

/** The monitoring ports that `--monitor` names. Throws UsageError for what is no URL. */
export function monitorsOf({ monitor = [] }: { readonly monitor?: string[] }): string[] {
  const wrong = monitor.find((url) => !/^https?:\/\/[^/]/.test(url) || !URL.canParse(url));
  if (wrong !== undefined) {
    throw new UsageError(
      `--monitor ${wrong} is no URL of a monitoring port: give one like http://127.0.0.1:8222`,
    );
  }
  return monitor;
}

/** Host, port and path of a monitoring port, without what its URL may have of secrets. */
export function monitorLabel(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname.replace(/\/$/, "")}`;
}

/** Asks a monitoring port for an object of JSON. Errors: Unavailable. */
export async function askMonitor<T>(url: string, path: string): Promise<T> {
  const label = monitorLabel(url);
  try {
    const { protocol, username, password } = new URL(url);
    // A proxy in front of the port may ask for a name.
    const headers = username || password ? basicAuthorization(username, password) : {};
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = await fetch(`${protocol}//${label}/${path}`, { headers, signal });
    const value: unknown = await answer.json();
    if (typeof value === "object" && value !== null) {
      return value as T;
    }
    throw new Error("the answer is no JSON object");
  } catch (cause) {
    const why = cause instanceof Error ? (cause.cause ?? cause) : cause;
    throw new ConnectError(
      `the monitoring port at ${label} does not answer /${path.split("?")[0]}: ${String(why)}`,
      Code.Unavailable,
      undefined,
      undefined,
      cause,
    );
  }
}

/** The parts of a URL have their special characters by percent signs. */
function basicAuthorization(...parts: string[]): Record<string, string> {
  const text = parts.map((part) => querystring.unescape(part)).join(":");
  return { Authorization: `Basic ${Buffer.from(text).toString("base64")}` };
}
