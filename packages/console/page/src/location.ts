import { useSyncExternalStore } from "react";

const listeners = new Set<() => void>();

function listen(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("popstate", listener);
  };
}

/** Path and query of the page that is shown; changes with it. */
export function usePlace(): { path: string; query: URLSearchParams } {
  const place = useSyncExternalStore(listen, () => location.pathname + location.search);
  const url = new URL(place, location.origin);
  return { path: url.pathname, query: url.searchParams };
}

/** Shows another page. With `replace` the page before is not one to go back to. */
export function goTo(href: string, { replace = false } = {}): void {
  if (replace) {
    history.replaceState(null, "", href);
  } else {
    history.pushState(null, "", href);
  }
  for (const listener of listeners) {
    listener();
  }
}

/** A path with a query, without what is empty. */
export function pathWith(path: string, query: Record<string, string | readonly string[]>): string {
  const entries = Object.entries(query).flatMap(([name, value]) =>
    (typeof value === "string" ? [value] : value).map((each) => [name, each]),
  );
  const search = new URLSearchParams(entries.filter(([, value]) => value)).toString();
  return search ? `${path}?${search}` : path;
}
