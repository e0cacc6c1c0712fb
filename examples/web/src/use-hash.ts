import { useSyncExternalStore } from "react";

/** The part of the address behind #: the document that is shown. */
export function useHash(): string {
  return useSyncExternalStore(
    (listener) => {
      addEventListener("hashchange", listener);
      return () => removeEventListener("hashchange", listener);
    },
    () => location.hash.replace(/^#\/?/, ""),
  );
}
