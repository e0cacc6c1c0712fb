/**
 * Streams that stay open in all windows of a browser together. Without HTTP/2 it has six connections
 * to a server: the other two are for what is asked meanwhile.
 */
const slots = 4;

/** Takes a slot, and returns how it is given back; undefined while other windows have them all. */
export async function takeSlot(): Promise<(() => void) | undefined> {
  if (!navigator.locks || isManyOnOne()) {
    return () => undefined;
  }
  for (let slot = 0; slot < slots; slot++) {
    const release = await tryLock(`jetrpc-console-stream-${slot}`);
    if (release) {
      return release;
    }
  }
  return undefined;
}

/** True where one connection carries all streams. */
function isManyOnOne(): boolean {
  const [page] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  return page !== undefined && /^h[23]/.test(page.nextHopProtocol);
}

/** The browser lets go of it when the window is closed. */
function tryLock(name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (lock) =>
        lock ? new Promise<void>((release) => resolve(release)) : resolve(undefined),
      )
      .catch(() => resolve(undefined));
  });
}
