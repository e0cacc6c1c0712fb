import { useEffect, useRef, useState } from "react";
import { isLost } from "./error-text.js";
import { takeSlot } from "./stream-slot.js";

/** The last value of each stream: a page that is opened again has something to show at once. */
const lastValues = new Map<string, unknown>();
const mostKept = 20;

/** Where other windows have all streams: how long one is open, and how long it is closed, in ms. */
const turnMs = 500;
const restMs = 2_000;

/**
 * The latest value of a stream that tells of something again and again. It is opened anew after
 * it broke, and closed while nobody sees the page: a browser has few connections to one server. When
 * other windows have all that may stay open, it is opened for a moment every 2 s. `open` is given what is known; a stream that ends is over unless `goesOn` tells otherwise. One that
 * `isBrief` keeps no connection.
 */
export function useWatch<T>(
  key: string,
  open: (signal: AbortSignal, known: T | undefined) => AsyncIterable<T>,
  {
    goesOn = () => true,
    round = 0,
    isBrief = false,
  }: { goesOn?: (value: T) => boolean; round?: number; isBrief?: boolean } = {},
): { value: T | undefined; error: unknown } {
  const [shown, setShown] = useState<{ key: string; value?: T; error?: unknown }>({ key });
  const latest = useRef({ open, goesOn, isBrief });
  latest.current = { open, goesOn, isBrief };

  // biome-ignore lint/correctness/useExhaustiveDependencies: another round opens the stream anew
  useEffect(() => {
    let running: AbortController | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const watch = async (controller: AbortController, failures: number) => {
      const { signal } = controller;
      let value = lastValues.get(key) as T | undefined;
      let failed = failures;
      const turn = new AbortController();
      const release = latest.current.isBrief ? () => undefined : await takeSlot();
      try {
        const ends = AbortSignal.any([signal, turn.signal]);
        for await (const next of latest.current.open(ends, value)) {
          if (signal.aborted) {
            return;
          }
          if (!release) {
            setTimeout(() => turn.abort(), turnMs);
          }
          failed = 0;
          value = next;
          remember(key, next);
          setShown({ key, value: next });
        }
        if (signal.aborted || (value !== undefined && !latest.current.goesOn(value))) {
          return;
        }
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        if (turn.signal.aborted) {
          timer = setTimeout(() => void watch(controller, 0), restMs);
          return;
        }
        const known = lastValues.get(key) as T | undefined;
        setShown({ key, ...(known !== undefined && { value: known }), error });
        failed++;
        if (!isLost(error) && failed > 3) {
          return;
        }
      } finally {
        release?.();
      }
      timer = setTimeout(() => void watch(controller, failed), Math.min(250 * 2 ** failed, 3_000));
    };
    const follow = () => {
      if (document.visibilityState === "hidden") {
        running?.abort();
        running = undefined;
        clearTimeout(timer);
      } else if (!running) {
        running = new AbortController();
        void watch(running, 0);
      }
    };
    follow();
    document.addEventListener("visibilitychange", follow);
    return () => {
      document.removeEventListener("visibilitychange", follow);
      running?.abort();
      clearTimeout(timer);
    };
  }, [key, round]);

  const isCurrent = shown.key === key;
  return {
    value: (isCurrent ? shown.value : undefined) ?? (lastValues.get(key) as T | undefined),
    error: isCurrent ? shown.error : undefined,
  };
}

function remember(key: string, value: unknown): void {
  lastValues.delete(key);
  lastValues.set(key, value);
  const [oldest] = lastValues.keys();
  if (lastValues.size > mostKept && oldest !== undefined) {
    lastValues.delete(oldest);
  }
}
