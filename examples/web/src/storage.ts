/** What a browser did not keep: its disk is full, or its user lets pages keep nothing. */
const unkept = new Map<string, string>();

/** Where it is kept. A browser that keeps nothing throws already when it is asked for this. */
type Place = () => Storage;

/** Reads what a browser keeps; null when there is nothing. */
export function readStored(place: Place, key: string): string | null {
  try {
    return unkept.get(key) ?? place().getItem(key);
  } catch {
    return null;
  }
}

/** Keeps something. Where that cannot be, it is known until this page is left. */
export function store(place: Place, key: string, value: string): void {
  unkept.delete(key);
  try {
    place().setItem(key, value);
  } catch {
    unkept.set(key, value);
  }
}
