import type { CallView } from "@jetrpc/react";
import type { ReactNode } from "react";
import type { SentDocument } from "./documents.js";
import { failureText } from "./failure-text.js";
import { isUnderWay } from "./state-text.js";

/** What is around a document that is read: its name, what can be done with its calls, how far they are. */
export function ReaderFrame({
  kind,
  document,
  calls,
  remove,
  progress,
  children,
}: {
  kind: SentDocument["kind"];
  /** Undefined where this browser has not sent it. */
  document: SentDocument | undefined;
  /** The first one is the one that the list shows. */
  calls: readonly CallView[];
  remove: (document: SentDocument) => void;
  progress: ReactNode;
  children: ReactNode;
}) {
  const isRunning = calls.some(isUnderWay);
  const error = calls.find((call) => call.error)?.error;
  const isCanceled = calls[0]?.state === "cancelled";
  return (
    <article className="reader">
      <a className="back" href="#/">
        All documents
      </a>
      <header className="title">
        <h1>{document?.name ?? (kind === "image" ? "Image" : "Document")}</h1>
        <div className="actions">
          {isRunning && (
            <button type="button" onClick={() => void cancelAll(calls)}>
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
      {error && !isCanceled ? (
        <p className="note bad" role="alert">
          {failureText(error, kind)}
        </p>
      ) : (
        progress
      )}
      {children}
    </article>
  );
}

/** Each call tells by itself how it ended. */
async function cancelAll(calls: readonly CallView[]): Promise<void> {
  await Promise.allSettled(calls.map(({ cancel }) => cancel()));
}
