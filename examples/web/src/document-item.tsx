import { useCall } from "@jetrpc/react";
import type { PdfClient } from "@jetrpc-examples/pdf-v1-client";
import type { SentDocument } from "./documents.js";
import { stateText } from "./state-text.js";

/**
 * A line of the list. It looks at its call from time to time and keeps no stream open: over
 * HTTP/1.1 a browser has six connections for all of its tabs.
 */
export function DocumentItem({
  pdf,
  document: { id, name, pages, bytes },
  isShown,
}: {
  pdf: PdfClient;
  document: SentDocument;
  isShown: boolean;
}) {
  const { state } = useCall(pdf.renderPages, id, { messages: false, progress: false });
  return (
    <li>
      <a href={`#/${id}`} aria-current={isShown ? "page" : undefined}>
        <span className="name">{name}</span>
        <span className="hint">
          {pages} {pages === 1 ? "page" : "pages"}, {megabytes(bytes)}
        </span>
        <span className="state" data-state={state}>
          {stateText(state)}
        </span>
      </a>
    </li>
  );
}

function megabytes(bytes: number): string {
  return bytes < 100_000 ? `${Math.ceil(bytes / 1_000)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
