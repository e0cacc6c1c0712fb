/** Bytes kept free in a message for the headers that servers and jetrpc add. */
const headerReserve = 4096;

/** True when a payload must be stored as an object. */
export function isOversize(payload: Uint8Array, headerBytes: number, maxPayload: number): boolean {
  return payload.length + headerBytes + headerReserve > maxPayload;
}
