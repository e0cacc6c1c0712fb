/** Searches the text of a document. */
export function SearchField({
  words,
  setWords,
  result,
}: {
  words: string;
  setWords: (words: string) => void;
  /** How much was found, in words. */
  result: string;
}) {
  return (
    <search className="search">
      <label htmlFor="words">Search the text</label>
      <input
        id="words"
        type="search"
        value={words}
        onChange={({ target }) => setWords(target.value)}
      />
      <p className="hint" role="status">
        {result}
      </p>
    </search>
  );
}
