/** Bytes that are at least this part of their buffer are kept with it. */
const share = 1 / 4;

/** Copies up to this size share a slab. */
const sharedSize = 4 * 1024;
const slabSize = 8 * 1024;

let slab = new Uint8Array(slabSize);
let used = 0;

/**
 * Bytes that may be kept: a copy when they are a small part of a larger buffer,
 * which would stay in memory with them. A message that the NATS client delivers
 * is a part of what one read of the socket gave.
 *
 * Small copies share a buffer of 8 KiB, as Node's own do: an allocation for each
 * costs five times as much. So none of them is for users, who may transfer it.
 */
export function keep(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  if (length >= bytes.buffer.byteLength * share) {
    return bytes;
  }
  if (length > sharedSize) {
    return new Uint8Array(bytes);
  }
  if (used + length > slabSize) {
    slab = new Uint8Array(slabSize);
    used = 0;
  }
  const copy = slab.subarray(used, used + length);
  copy.set(bytes);
  used += length;
  return copy;
}
