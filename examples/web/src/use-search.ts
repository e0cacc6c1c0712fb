import { useDeferredValue, useMemo, useState } from "react";
import { countMatches } from "./search.js";

/** Searches texts while a user types. */
export function useSearch(texts: readonly { readonly text: string }[]) {
  const [words, setWords] = useState("");
  const wanted = useDeferredValue(words.trim());
  /** How often the words are in each text. */
  const matches = useMemo(
    () => texts.map(({ text }) => countMatches(text, wanted)),
    [texts, wanted],
  );
  const found = matches.reduce((sum, count) => sum + count, 0);
  return {
    words,
    setWords,
    /** The words, a moment later. */
    wanted,
    found,
    isFoundIn: (index: number) => (matches[index] ?? 0) > 0,
    /** In how many of the texts the words are. */
    foundIn: matches.filter((count) => count > 0).length,
  };
}
