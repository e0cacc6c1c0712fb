/** Of the page, where there is one: all that is used of it. */
interface Page extends Partial<EventTarget> {
  readonly document?: Partial<EventTarget> & { readonly visibilityState?: string };
}

const listeners = new Set<() => void>();
let stop: (() => void) | undefined;

/**
 * Calls back when the network may be there again: the browser says so, or the page is looked
 * at after it was hidden. Returns what stops it.
 */
export function onWake(listener: () => void): () => void {
  listeners.add(listener);
  stop ??= listen(globalThis as Page);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      stop?.();
      stop = undefined;
    }
  };
}

function listen(page: Page): () => void {
  const wake = () => {
    for (const listener of [...listeners]) {
      listener();
    }
  };
  const seen = () => {
    if (page.document?.visibilityState === "visible") {
      wake();
    }
  };
  page.addEventListener?.("online", wake);
  page.document?.addEventListener?.("visibilitychange", seen);
  return () => {
    page.removeEventListener?.("online", wake);
    page.document?.removeEventListener?.("visibilitychange", seen);
  };
}
