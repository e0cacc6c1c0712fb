/** How often words are in a text, in whatever case. */
export function countMatches(text: string, words: string): number {
  return words === "" ? 0 : text.toLowerCase().split(words.toLowerCase()).length - 1;
}

/** A text in pieces; every second one is a match. */
export function splitMatches(text: string, words: string): string[] {
  if (words === "") {
    return [text];
  }
  const pattern = words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return text.split(new RegExp(`(${pattern})`, "gi"));
}
