import { Code, ConnectError } from "@connectrpc/connect";

/** Cuts the bytes of a source into chunks of the same size, in spare buffers where there are. */
export async function* inChunks(
  source: AsyncIterable<Uint8Array>,
  size: number,
  spare: Uint8Array[],
): AsyncGenerator<Uint8Array, void, undefined> {
  const next = () => spare.pop() ?? new Uint8Array(size);
  let chunk = next();
  let used = 0;
  for await (const piece of source) {
    if (!(piece instanceof Uint8Array)) {
      throw new ConnectError(
        `the source of a Blob gave a ${typeof piece}: it must give Uint8Arrays`,
        Code.InvalidArgument,
      );
    }
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + size - used);
      chunk.set(part, used);
      used += part.length;
      at += part.length;
      if (used === size) {
        yield chunk;
        chunk = next();
        used = 0;
      }
    }
  }
  if (used > 0) {
    yield chunk.subarray(0, used);
  }
}
