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

/** Host and port of a monitoring port, without what its URL may have of secrets. */
export function monitorLabel(url: string): string {
  return new URL(url).host;
}

/** Asks a monitoring port for an object of JSON. Errors: Unavailable. */
export async function askMonitor<T>(url: string, path: string): Promise<T> {
  try {
    const base = url.endsWith("/") ? url : `${url}/`;
    const answer = await fetch(new URL(path, base), { signal: AbortSignal.timeout(timeoutMs) });
    const value: unknown = await answer.json();
    if (typeof value === "object" && value !== null) {
      return value as T;
    }
    throw new Error("the answer is no JSON object");
  } catch (cause) {
    const why = cause instanceof Error ? (cause.cause ?? cause) : cause;
    throw new ConnectError(
      `the monitoring port at ${monitorLabel(url)} does not answer /${path.split("?")[0]}: ${String(why)}`,
      Code.Unavailable,
      undefined,
      undefined,
      cause,
    );
  }
}
