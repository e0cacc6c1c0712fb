import { startTimer } from "./timer.js";

/**
 * Waits for something until it is settled or the time is over, in ms; Infinity is no
 * limit. True when it was settled in time. Never rejects.
 */
export function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const settled = () => {
      stopTimer();
      resolve(true);
    };
    const stopTimer = startTimer(() => resolve(false), ms);
    work.then(settled, settled);
  });
}
