import { ConnectError } from "@connectrpc/connect";

/** Submissions that are under way at once; less where each may upload files. */
const window = 256;
const uploadWindow = 8;

/** What became of one of many submissions: the call, or why it was not accepted. */
export type Submitted<C> =
  | { readonly call: C; readonly error?: undefined }
  | { readonly call?: undefined; readonly error: ConnectError };

/**
 * Submits what an iterable gives, many at once, and tells of each in its order. It
 * reads ahead only so far: a slow server, or a slow reader, makes it wait.
 */
export async function* submitAll<T, C>(
  requests: Iterable<T> | AsyncIterable<T>,
  submit: (request: T, index: number) => Promise<C>,
  uploads: boolean,
): AsyncGenerator<Submitted<C>, void, undefined> {
  const most = uploads ? uploadWindow : window;
  const underWay: Promise<Submitted<C>>[] = [];
  let index = 0;
  for await (const request of requests) {
    underWay.push(
      submit(request, index++).then(
        (call) => ({ call }),
        (error) => ({ error: ConnectError.from(error) }),
      ),
    );
    if (underWay.length >= most) {
      yield await (underWay.shift() as Promise<Submitted<C>>);
    }
  }
  for (const each of underWay) {
    yield await each;
  }
}
