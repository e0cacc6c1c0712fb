import type { Watch } from "./observer.js";
import { canceled } from "./pending-reply.js";

/**
 * Messages of a stream, each step of which is run by a watch: a generator of JavaScript runs on
 * where its `next()` was called, not where it was made. `end` is called when no more are read.
 */
export function watchMessages<T>(
  watch: Watch,
  messages: AsyncIterable<T>,
  direction: "sent" | "received",
  end?: (error?: unknown) => void,
): AsyncIterable<T> {
  const watched = {
    [Symbol.asyncIterator](): AsyncIterableIterator<T> {
      const iterator = watch.run(() => messages[Symbol.asyncIterator]());
      return {
        async next() {
          try {
            const next = await watch.run(() => iterator.next());
            next.done ? end?.() : watch.message?.(direction);
            return next;
          } catch (error) {
            end?.(error);
            throw error;
          }
        },
        async return(value) {
          end?.(canceled(undefined));
          return (await watch.run(() => iterator.return?.(value))) ?? { done: true, value };
        },
        [Symbol.asyncIterator]() {
          return this;
        },
        // Who forgets the messages has forgotten their iterator.
        of: watched,
      } as AsyncIterableIterator<T>;
    },
  };
  return watched;
}
