/** What setTimeout takes at most, in ms: 24.8 days. It takes more for 1 ms. */
const longestMs = 2 ** 31 - 1;

/**
 * Calls back after any time in ms; Infinity is never. Like setTimeout() it keeps the
 * process alive meanwhile. Returns what stops it.
 */
export function startTimer(callback: () => void, ms: number): () => void {
  let left = ms;
  let timer: ReturnType<typeof setTimeout>;
  const step = () => {
    const next = Math.min(left, longestMs);
    left -= next;
    timer = setTimeout(left > 0 ? step : callback, next);
  };
  step();
  return () => clearTimeout(timer);
}
