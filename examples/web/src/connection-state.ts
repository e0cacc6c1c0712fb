import { useSyncExternalStore } from "react";
import { fetchWithProgress } from "./fetch-with-progress.js";

let isLost = false;
const listeners = new Set<() => void>();

/** Statuses of a proxy in front of a gateway that is away. */
const away: ReadonlySet<number> = new Set([502, 503, 504]);

/** The `fetch` of the connection: it shows whether the gateway is reached. */
export async function watchedFetch(
  input: RequestInfo | URL,
  init: RequestInit = {},
): Promise<Response> {
  try {
    const response = await fetchWithProgress(input, init);
    show(away.has(response.status));
    return response;
  } catch (error) {
    if (!init.signal?.aborted) {
      show(true);
    }
    throw error;
  }
}

/** True while the gateway is not reached: the connection makes itself anew. */
export function useConnectionLost(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => isLost,
  );
}

function show(lost: boolean): void {
  if (isLost !== lost) {
    isLost = lost;
    for (const listener of listeners) {
      listener();
    }
  }
}
