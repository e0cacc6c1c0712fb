/**
 * A message that comes in several frames. It takes the room of what has come, not of
 * what its sender says will come, and as little for many small parts as for few.
 */
export class PartialMessage {
  private buffer = new Uint8Array(0);
  private length = 0;

  constructor(private readonly size: number) {}

  /** Takes the part of a frame that belongs to it, and returns its length. */
  add(rest: Uint8Array): number {
    const part = rest.subarray(0, this.size - this.length);
    const needed = this.length + part.length;
    if (needed > this.buffer.length) {
      const grown = new Uint8Array(Math.min(this.size, Math.max(needed, 2 * this.buffer.length)));
      grown.set(this.buffer);
      this.buffer = grown;
    }
    this.buffer.set(part, this.length);
    this.length = needed;
    return part.length;
  }

  /** The message, once it is complete. */
  get bytes(): Uint8Array | undefined {
    return this.length === this.size ? this.buffer : undefined;
  }
}
