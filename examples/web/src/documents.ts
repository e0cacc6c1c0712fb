import { useCallback, useEffect, useState } from "react";

/** A file that a user has sent: the id is that of its calls. */
interface SentFile {
  readonly id: string;
  readonly name: string;
  readonly bytes: number;
}

/** A PDF that a user has sent. */
export interface SentPdf extends SentFile {
  readonly kind: "pdf";
  readonly pages: number;
}

/** An image that a user has sent, and its pixels. */
export interface SentImage extends SentFile {
  readonly kind: "image";
  readonly width: number;
  readonly height: number;
}

export type SentDocument = SentPdf | SentImage;

/** What is behind # in the address of a document: it tells what to ask for in another browser, too. */
export function addressOf({ kind, id }: Pick<SentDocument, "kind" | "id">): string {
  return kind === "image" ? `/image/${id}` : `/${id}`;
}

/** The document of an address; undefined without one. */
export function documentAt(hash: string): Pick<SentDocument, "kind" | "id"> | undefined {
  const [, image, id = ""] = /^#?\/?(image\/)?(.*)$/.exec(hash) ?? [];
  return id === "" ? undefined : { kind: image ? "image" : "pdf", id };
}

/** The documents of a user, the newest first. This browser keeps them, for all of its tabs. */
export function useDocuments(user: string) {
  const key = `folio.documents.${user}`;
  const [documents, setDocuments] = useState(() => read(key));
  useEffect(() => {
    const listen = (event: StorageEvent) => {
      if (event.key === key) {
        setDocuments(read(key));
      }
    };
    addEventListener("storage", listen);
    return () => removeEventListener("storage", listen);
  }, [key]);
  const change = useCallback(
    (edit: (documents: readonly SentDocument[]) => readonly SentDocument[]) => {
      // Another tab may have written meanwhile.
      const changed = edit(read(key));
      localStorage.setItem(key, JSON.stringify(changed));
      setDocuments(changed);
    },
    [key],
  );
  return { documents, change };
}

function read(key: string): readonly SentDocument[] {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "[]");
  } catch {
    return [];
  }
}
