/**
 * Maps items side by side and yields the results in order. As many run at once
 * as fit into `room` by their `cost`, at least one and at most `concurrency`.
 * An error comes after the results before it.
 */
export async function* mapOrdered<T, R>(
  source: AsyncIterable<T>,
  map: (item: T) => Promise<R>,
  limits: { concurrency: number; room: number; cost: (item: T) => number },
): AsyncGenerator<R, void, undefined> {
  const running: { result: Promise<R>; cost: number }[] = [];
  let used = 0;
  let failure: { error: unknown } | undefined;
  try {
    for await (const item of source) {
      const cost = limits.cost(item);
      const isFull = () => running.length >= limits.concurrency || used + cost > limits.room;
      for (let oldest = running[0]; oldest && isFull(); oldest = running[0]) {
        running.shift();
        used -= oldest.cost;
        yield await oldest.result;
      }
      const result = map(item);
      // It is looked at in its turn, or by nobody when the consumer left.
      result.catch(() => undefined);
      running.push({ result, cost });
      used += cost;
    }
  } catch (error) {
    failure = { error };
  }
  for (const { result } of running) {
    yield await result;
  }
  if (failure) {
    throw failure.error;
  }
}
