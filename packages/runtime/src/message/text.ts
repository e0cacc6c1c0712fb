const encoder = new TextEncoder();

/** How many bytes a text has. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** The beginning of a text that has no more than so many bytes: whole characters. */
export function cutText(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) {
    return text;
  }
  const { read } = encoder.encodeInto(text, new Uint8Array(maxBytes));
  return text.slice(0, read);
}

/** Makes a text fit into one line of so many bytes. */
export function oneLine(text: string, maxBytes: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must go
  return cutText(text, maxBytes).replace(/[\u0000-\u001f\u007f]+/g, " ");
}

/** The end of a text that lacks something. */
export function leftOut(...what: (string | false)[]): string {
  const all = what.filter((each) => each);
  return all.length > 0 ? ` (left out: ${all.join(", ")})` : "";
}
