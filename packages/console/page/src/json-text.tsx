import { Fragment, type ReactNode } from "react";

/** Above it, in characters, colors cost more than they help. */
const mostColored = 100_000;

const tokens = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*|true|false|null)/g;

/** JSON, with colors. */
export function JsonText({ json, label }: { json: string; label: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by the keyboard, too
    <section className="long-text" tabIndex={0} aria-label={label}>
      <pre className="json">{json.length > mostColored ? json : colored(json)}</pre>
    </section>
  );
}

function colored(json: string) {
  const parts: ReactNode[] = [];
  let from = 0;
  for (const match of json.matchAll(tokens)) {
    const [whole, text, colon] = match;
    parts.push(json.slice(from, match.index));
    from = match.index + whole.length;
    const kind = text === undefined ? "value" : colon === undefined ? "text" : "key";
    parts.push(
      <Fragment key={match.index}>
        <span className={kind}>{text ?? whole}</span>
        {colon}
      </Fragment>,
    );
  }
  parts.push(json.slice(from));
  return parts;
}
