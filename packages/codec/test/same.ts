/**
 * Undefined when two messages are the same: prototypes, own properties, and values, of which
 * NaN is itself and -0 is not 0. Otherwise it says where they differ.
 */
export function difference(a: unknown, b: unknown, path = "message"): string | undefined {
  if (Object.is(a, b)) {
    return undefined;
  }
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return `${path}: ${say(a)} and ${say(b)}`;
  }
  const [protoA, protoB] = [Object.getPrototypeOf(a), Object.getPrototypeOf(b)];
  if (protoA !== protoB) {
    // A key of a map may be __proto__.
    return difference(protoA, protoB, `${path}'s prototype`);
  }
  if (a instanceof Uint8Array) {
    const same = Buffer.from(a).equals(Buffer.from(b as Uint8Array));
    return same ? undefined : `${path}: ${say(a)} and ${say(b)}`;
  }
  const [keysA, keysB] = [Object.keys(a).sort(), Object.keys(b).sort()];
  if (keysA.join() !== keysB.join()) {
    return `${path} has ${keysA.join()} and ${keysB.join()}`;
  }
  for (const key of keysA) {
    const [inA, inB] = [a, b].map((side) => (side as Record<string, unknown>)[key]);
    const found = difference(inA, inB, `${path}.${key}`);
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}

function say(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : String(value);
}
