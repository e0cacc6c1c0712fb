/** The messages of a streamed response. */
export async function* count(messages: number) {
  for (let number = 0; number < messages; number++) {
    yield { number, text: "a small message" };
  }
}

/** Reads a stream to its end. */
export async function drain(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages) {
    // Only counted, by the client that asked for so many.
  }
}
