import { useSyncExternalStore } from "react";

/** The part of the address from # on: it names the document that is shown. */
export function useHash(): string {
  return useSyncExternalStore(
    (listener) => {
      addEventListener("hashchange", listener);
      return () => removeEventListener("hashchange", listener);
    },
    () => location.hash,
  );
}
