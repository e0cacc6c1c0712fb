/** The items as a stream of messages; their end is that of the stream. */
export async function* createAsyncIterable<T>(items: Iterable<T>): AsyncGenerator<T, void> {
  yield* items;
}
