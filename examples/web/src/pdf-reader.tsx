import { useCall } from "@jetrpc/react";
import type { PdfClient } from "@jetrpc-examples/pdf-v1-client";
import { countText } from "./count-text.js";
import type { SentDocument } from "./documents.js";
import { Page } from "./page.js";
import { ReaderFrame } from "./reader-frame.js";
import { SearchField } from "./search-field.js";
import { isUnderWay, stateText } from "./state-text.js";
import { useSearch } from "./use-search.js";
import { WorkProgress } from "./work-progress.js";

/** Pages count for progress here: more reports, and a stream for them, are not needed. */
const options = { progress: false };

/** One PDF: its pages as they are made, and their text. */
export function PdfReader({
  pdf,
  isServed,
  id,
  document,
  remove,
}: {
  pdf: PdfClient;
  /** Whether a worker is there; undefined while that is not known. */
  isServed: boolean | undefined;
  id: string;
  /** Undefined where this browser has not sent it. */
  document: SentDocument | undefined;
  remove: (document: SentDocument) => void;
}) {
  const pictures = useCall(pdf.renderPages, id, options);
  const texts = useCall(pdf.extractText, id, options);
  const { words, setWords, wanted, found, foundIn, isFoundIn } = useSearch(texts.messages);
  const made = pictures.messages.length;
  const known = document?.kind === "pdf" ? document.pages : undefined;
  const total = known ?? pictures.progress?.total ?? 0;
  const pages = Math.max(made, texts.messages.length);
  const shown = Array.from({ length: pages }, (_, index) => index).filter(
    (index) => wanted === "" || isFoundIn(index),
  );
  const { state } = pictures;
  const isTextComing = texts.state === "loading" || isUnderWay(texts);
  const isDone = state === "succeeded" && texts.state === "succeeded";
  let text = stateText(state);
  if (isDone) {
    text = `${countText(made, "page")}, all there`;
  } else if (state === "running" || (state === "loading" && made > 0)) {
    text = `Page ${made} of ${total || "?"}`;
  } else if (state === "cancelled") {
    text = `Canceled after ${countText(made, "page")}`;
  }
  return (
    <ReaderFrame
      kind="pdf"
      document={document}
      calls={[pictures, texts]}
      remove={remove}
      progress={
        <WorkProgress
          isServed={isServed}
          call={pictures}
          text={text}
          label="Pages made"
          made={made}
          total={total}
          isDone={isDone}
        />
      }
    >
      {texts.messages.length > 0 && (
        <SearchField
          words={words}
          setWords={setWords}
          result={wanted && (found ? `${found} on ${countText(foundIn, "page")}` : "Nothing found")}
        />
      )}
      <ol className="pages" aria-label="Pages">
        {shown.map((index) => (
          <Page
            key={index}
            number={index + 1}
            picture={pictures.messages[index]}
            text={texts.messages[index]?.text}
            isTextComing={isTextComing}
            wanted={wanted}
          />
        ))}
      </ol>
    </ReaderFrame>
  );
}
