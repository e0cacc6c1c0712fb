import { ImageService } from "@jetrpc-examples/image-v1-client";
import { PdfService } from "@jetrpc-examples/pdf-v1-client";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { DocumentItem } from "./document-item.js";
import { addressOf, documentAt, type SentDocument, useDocuments } from "./documents.js";
import { ImageReader } from "./image-reader.js";
import { PdfReader } from "./pdf-reader.js";
import { type Session, users } from "./session.js";
import { useHash } from "./use-hash.js";
import { useIsServed } from "./use-is-served.js";
import { type Upload, useUpload } from "./use-upload.js";

/** A user's documents, and the one that is read. */
export function Library({ session, leave }: { session: Session; leave: () => void }) {
  const { user, pdf, image } = session;
  const shown = documentAt(useHash());
  const { documents, change } = useDocuments(user);
  const { upload, send } = useUpload(session, (document) => {
    change((before) => [document, ...before]);
    location.hash = addressOf(document);
  });
  const readsPdfs = useIsServed(session, PdfService.typeName);
  const readsImages = useIsServed(session, ImageService.typeName);
  const takesImages = readsImages === true;
  const taken = takesImages ? "a PDF or an image" : "a PDF";
  const remove = ({ id }: SentDocument) => {
    change((before) => before.filter((document) => document.id !== id));
    location.hash = "/";
  };
  const isSending = upload?.sent !== undefined;
  const document = documents.find(({ id }) => id === shown?.id);
  return (
    <div className="app" data-reading={shown !== undefined}>
      <header className="bar">
        <a className="brand" href="#/">
          Folio
        </a>
        <p className="user">
          <span className="initial" aria-hidden="true">
            {user[0]?.toUpperCase()}
          </span>
          {users.find(({ id }) => id === user)?.name}
          <button type="button" className="quiet" onClick={leave}>
            Switch user
          </button>
        </p>
      </header>
      <aside className="side">
        <DropZone send={send} isBusy={isSending} takesImages={takesImages}>
          Add {taken}
        </DropZone>
        {upload && <UploadNote upload={upload} />}
        <nav aria-labelledby="documents">
          <h2 id="documents">Your documents</h2>
          {documents.length === 0 && <p className="hint">None yet.</p>}
          <ul className="documents">
            {documents.map((document) => (
              <DocumentItem
                key={document.id}
                session={session}
                document={document}
                isShown={document.id === shown?.id}
              />
            ))}
          </ul>
        </nav>
      </aside>
      <main className="main">
        {shown === undefined ? (
          <Empty hasDocuments={documents.length > 0} taken={taken} />
        ) : shown.kind === "image" ? (
          <ImageReader
            key={shown.id}
            image={image}
            isServed={readsImages}
            id={shown.id}
            document={document}
            remove={remove}
          />
        ) : (
          <PdfReader
            key={shown.id}
            pdf={pdf}
            isServed={readsPdfs}
            id={shown.id}
            document={document}
            remove={remove}
          />
        )}
      </main>
    </div>
  );
}

function Empty({ hasDocuments, taken }: { hasDocuments: boolean; taken: string }) {
  return (
    <div className="empty">
      <svg viewBox="0 0 120 90" aria-hidden="true">
        <rect x="14" y="8" width="46" height="66" rx="4" />
        <rect x="60" y="16" width="46" height="66" rx="4" />
        <path d="M24 22h26M24 32h26M24 42h18M70 30h26M70 40h26M70 50h26M70 60h14" />
      </svg>
      <h1>{hasDocuments ? "Choose a document" : "Nothing to read yet"}</h1>
      <p className="hint">
        Drop {taken} anywhere on this page. It appears here as it is read, with its text beside it
        to select and to search.
      </p>
    </div>
  );
}

function DropZone({
  send,
  isBusy,
  takesImages,
  children,
}: {
  send: (files: readonly File[]) => void;
  isBusy: boolean;
  takesImages: boolean;
  children: ReactNode;
}) {
  const [isOver, setIsOver] = useState(false);
  const take = useRef(send);
  useEffect(() => {
    take.current = (files) => !isBusy && send(files);
  });
  useEffect(() => {
    const over = (event: DragEvent) => {
      event.preventDefault();
      // A text of the page can be dragged, too.
      setIsOver(event.dataTransfer?.types.includes("Files") ?? false);
    };
    const out = (event: DragEvent) => event.relatedTarget === null && setIsOver(false);
    const drop = (event: DragEvent) => {
      event.preventDefault();
      setIsOver(false);
      take.current([...(event.dataTransfer?.files ?? [])]);
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", out);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", out);
      removeEventListener("drop", drop);
    };
  }, []);
  return (
    <label className="drop" data-over={isOver && !isBusy} data-busy={isBusy}>
      <input
        type="file"
        accept={`application/pdf,.pdf${takesImages ? ",image/*" : ""}`}
        disabled={isBusy}
        onChange={({ target }) => {
          take.current([...(target.files ?? [])]);
          // The same file may be chosen again.
          target.value = "";
        }}
      />
      <strong>{isOver && !isBusy ? "Drop it here" : children}</strong>
      <span className="hint">Choose a file, or drop one on the page</span>
    </label>
  );
}

function UploadNote({ upload }: { upload: Upload }) {
  const { name, sent, failure, forget } = upload;
  if (failure) {
    return (
      <div className="note bad" role="alert">
        <p>
          <strong>{name}</strong> {failure}
        </p>
        <button type="button" className="quiet" onClick={forget}>
          Dismiss
        </button>
      </div>
    );
  }
  const percent = Math.round((sent ?? 0) * 100);
  return (
    <div className="note" role="status">
      <p>
        Sending <strong>{name}</strong>
      </p>
      <progress aria-label={`Sending ${name}`} max={100} value={percent} />
      <button type="button" className="quiet" onClick={forget}>
        Cancel
      </button>
    </div>
  );
}
