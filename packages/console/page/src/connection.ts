import { useSyncExternalStore } from "react";

let isSilent = false;
const listeners = new Set<() => void>();

function set(value: boolean): void {
  if (isSilent !== value) {
    isSilent = value;
    for (const listener of listeners) {
      listener();
    }
  }
}

/** A request did not reach the server of this page. */
export const consoleIsSilent = () => set(true);

/** A request did. */
export const consoleAnswered = () => set(false);

/** True while the server of this page cannot be reached. */
export function useConsoleIsSilent(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => isSilent,
  );
}
