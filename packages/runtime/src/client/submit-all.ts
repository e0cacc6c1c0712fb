import { Code, ConnectError } from "@connectrpc/connect";
import { Interruptible } from "../link/interruptible.js";

/** Submissions that are under way at once; less where each may upload files. */
const window = 256;
const uploadWindow = 8;

/** The result of one of many submissions: the call, or why it was not accepted. */
export type Submitted<C> =
  | { readonly call: C; readonly error?: undefined }
  | { readonly call?: undefined; readonly error: ConnectError };

/**
 * Submits what an iterable gives, many at once, and tells of each in its order, as soon
 * as it is known. It reads ahead only so far: a slow server, or a slow reader, makes it
 * wait. When the iterable throws, what it gave before is told first.
 */
export function submitAll<T, C>(
  requests: Iterable<T> | AsyncIterable<T>,
  submit: (request: T, index: number) => Promise<C>,
  uploads: boolean,
): Interruptible<Submitted<C>> {
  const { [Symbol.asyncIterator]: each, [Symbol.iterator]: all = each } = Object(requests);
  if (typeof all !== "function") {
    throw new ConnectError("submitAll() takes an iterable of requests", Code.InvalidArgument);
  }
  const source: Iterator<T> | AsyncIterator<T> = (each ?? all).call(requests);
  const outcomes = submitEach(source, submit, uploads ? uploadWindow : window);
  return new Interruptible(outcomes, () => {
    // It may never give anything, and be asked for it all the same.
    Promise.resolve(source.return?.()).catch(() => undefined);
  });
}

async function* submitEach<T, C>(
  source: Iterator<T> | AsyncIterator<T>,
  submit: (request: T, index: number) => Promise<C>,
  most: number,
): AsyncGenerator<Submitted<C>, void, undefined> {
  const underWay: Promise<Submitted<C>>[] = [];
  let index = 0;
  let coming: Promise<Given<T>> | undefined;
  let end: Given<T> | undefined;
  while (!end || underWay.length > 0) {
    if (!end && underWay.length < most) {
      coming ??= take(source);
    }
    // The source of the requests may wait for the result of the last one.
    const step = await Promise.race(
      [coming, underWay[0]].filter((promise) => promise !== undefined),
    );
    if (!("next" in step)) {
      underWay.shift();
      yield step;
      continue;
    }
    coming = undefined;
    if (step.next?.done !== false) {
      end = step;
      continue;
    }
    underWay.push(
      submit(step.next.value, index++).then(
        (call) => ({ call }),
        (error) => ({ error: ConnectError.from(error) }),
      ),
    );
  }
  if (!end.next) {
    throw end.failure;
  }
}

/** The next request of a source, or why it gives no more. */
interface Given<T> {
  readonly next: IteratorResult<T> | undefined;
  readonly failure?: unknown;
}

async function take<T>(source: Iterator<T> | AsyncIterator<T>): Promise<Given<T>> {
  try {
    const { done = false, value } = await source.next();
    return { next: { done, value: await value } as IteratorResult<T> };
  } catch (failure) {
    return { next: undefined, failure };
  }
}
