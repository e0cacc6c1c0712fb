import { type FollowedState, useCall } from "@jetrpc/react";
import { addressOf, type SentDocument, type SentImage, type SentPdf } from "./documents.js";
import type { Session } from "./session.js";
import { stateText } from "./state-text.js";

/** A line looks at its call from time to time and keeps no stream open: over HTTP/1.1 a browser has six connections for all of its tabs. */
const options = { messages: false, progress: false };

interface ItemProps<D> {
  session: Session;
  document: D;
  isShown: boolean;
}

/** A line of the list. */
export function DocumentItem({ document, ...props }: ItemProps<SentDocument>) {
  return document.kind === "image" ? (
    <ImageItem document={document} {...props} />
  ) : (
    <PdfItem document={document} {...props} />
  );
}

function PdfItem({ session, document, isShown }: ItemProps<SentPdf>) {
  const { state } = useCall(session.pdf.renderPages, document.id, options);
  const { pages } = document;
  const size = `${pages} ${pages === 1 ? "page" : "pages"}`;
  return <Item document={document} size={size} state={state} isShown={isShown} />;
}

function ImageItem({ session, document, isShown }: ItemProps<SentImage>) {
  const { state } = useCall(session.image.readText, document.id, options);
  const size = `${document.width} × ${document.height}`;
  return <Item document={document} size={size} state={state} isShown={isShown} />;
}

function Item({
  document,
  size,
  state,
  isShown,
}: {
  document: SentDocument;
  /** How large it is, besides its bytes. */
  size: string;
  state: FollowedState;
  isShown: boolean;
}) {
  return (
    <li>
      <a href={`#${addressOf(document)}`} aria-current={isShown ? "page" : undefined}>
        <span className="name">{document.name}</span>
        <span className="hint">
          {size}, {megabytes(document.bytes)}
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
