import { type StreamingCallView, useCall } from "@jetrpc/react";
import type {
  ExtractTextResponse,
  PdfClient,
  RenderPagesResponse,
} from "@jetrpc-examples/pdf-v1-client";
import { useDeferredValue, useMemo, useState } from "react";
import type { SentDocument } from "./documents.js";
import { failureText } from "./failure-text.js";
import { Page } from "./page.js";
import { countMatches } from "./search.js";
import { stateText } from "./state-text.js";

/** Pages count for progress here: more reports, and a stream for them, are not needed. */
const options = { progress: false };

/** One document: its pages as they are made, and their text. */
export function Reader({
  pdf,
  id,
  document,
  remove,
}: {
  pdf: PdfClient;
  id: string;
  /** Undefined where this browser has not sent it. */
  document: SentDocument | undefined;
  remove: (document: SentDocument) => void;
}) {
  const pictures = useCall(pdf.renderPages, id, options);
  const texts = useCall(pdf.extractText, id, options);
  const [words, setWords] = useState("");
  const wanted = useDeferredValue(words.trim());
  const matches = useMemo(
    () => texts.messages.map(({ text }) => countMatches(text, wanted)),
    [texts.messages, wanted],
  );
  const found = matches.reduce((sum, count) => sum + count, 0);
  const foundPages = matches.filter((count) => count > 0).length;
  const error = pictures.error ?? texts.error;
  const isRunning = isUnderWay(pictures) || isUnderWay(texts);
  const total = document?.pages ?? pictures.progress?.total ?? 0;
  const pages = Math.max(pictures.messages.length, texts.messages.length);
  const shown = Array.from({ length: pages }, (_, index) => index).filter(
    (index) => wanted === "" || (matches[index] ?? 0) > 0,
  );

  return (
    <article className="reader">
      <a className="back" href="#/">
        All documents
      </a>
      <header className="title">
        <h1>{document?.name ?? "Document"}</h1>
        <div className="actions">
          {isRunning && (
            <button type="button" onClick={() => void cancelAll(pictures, texts)}>
              Cancel
            </button>
          )}
          {document && !isRunning && (
            <button type="button" className="quiet" onClick={() => remove(document)}>
              Remove from list
            </button>
          )}
        </div>
      </header>
      {error && pictures.state !== "cancelled" ? (
        <p className="note bad" role="alert">
          {failureText(error)}
        </p>
      ) : (
        <Progress pictures={pictures} texts={texts} total={total} />
      )}
      {texts.messages.length > 0 && (
        <search className="search">
          <label htmlFor="words">Search the text</label>
          <input
            id="words"
            type="search"
            value={words}
            onChange={({ target }) => setWords(target.value)}
          />
          <p className="hint" role="status">
            {wanted && (found === 0 ? "Nothing found" : `${found} on ${plural(foundPages)}`)}
          </p>
        </search>
      )}
      <ol className="pages" aria-label="Pages">
        {shown.map((index) => (
          <Page
            key={index}
            number={index + 1}
            picture={pictures.messages[index]}
            text={texts.messages[index]?.text}
            wanted={wanted}
          />
        ))}
      </ol>
    </article>
  );
}

interface Calls {
  pictures: StreamingCallView<RenderPagesResponse>;
  texts: StreamingCallView<ExtractTextResponse>;
}

function Progress({ pictures, texts, total }: Calls & { total: number }) {
  const { state, status } = pictures;
  const made = pictures.messages.length;
  const attempts = status?.attempts.length ?? 0;
  const isDone = state === "succeeded" && texts.state === "succeeded";
  let text = stateText(state);
  if (isDone) {
    text = `${plural(made)}, all there`;
  } else if (state === "queued" && status?.workers === 0) {
    text = "No worker is there. The document waits, and is read when one comes";
  } else if (state === "running" || (state === "loading" && made > 0)) {
    text = `Page ${made} of ${total || "?"}`;
  } else if (state === "cancelled") {
    text = `Canceled after ${plural(made)}`;
  }
  return (
    <div className="progress" data-state={state}>
      <p role="status">
        {text}
        {attempts > 1 && !isDone && (
          <span className="hint"> A worker was lost, and another one goes on.</span>
        )}
      </p>
      {!isDone && state !== "cancelled" && (
        <progress
          aria-label="Pages made"
          max={total || 1}
          {...(state !== "queued" && { value: made })}
        />
      )}
    </div>
  );
}

function isUnderWay({ state }: StreamingCallView<unknown>): boolean {
  return state === "queued" || state === "running" || state === "retrying";
}

/** Each call tells by itself how it ended. */
async function cancelAll(...calls: StreamingCallView<unknown>[]): Promise<void> {
  await Promise.allSettled(calls.map(({ cancel }) => cancel()));
}

function plural(pages: number): string {
  return pages === 1 ? "1 page" : `${pages} pages`;
}
