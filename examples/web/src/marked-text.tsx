import { splitMatches } from "./search.js";

/** A text in which words are marked. */
export function MarkedText({ text, wanted }: { text: string; wanted: string }) {
  return splitMatches(text, wanted).map((piece, index) =>
    // The pieces of a text do not move.
    // biome-ignore lint/suspicious/noArrayIndexKey: see above
    index % 2 === 1 ? <mark key={index}>{piece}</mark> : piece,
  );
}
