import { useCallback, useEffect, useState } from "react";
import { readStored, store } from "./storage.js";

const browser = () => localStorage;

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

/** The document of an address; undefined where no id is in it. */
export function documentAt(hash: string): Pick<SentDocument, "kind" | "id"> | undefined {
  const [, image, id = ""] = /^#?\/?(image\/)?([\w-]{1,36})$/.exec(hash) ?? [];
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
      store(browser, key, JSON.stringify(changed));
      setDocuments(changed);
    },
    [key],
  );
  return { documents, change };
}

function read(key: string): readonly SentDocument[] {
  try {
    const kept: unknown = JSON.parse(readStored(browser, key) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isDocument) : [];
  } catch {
    return [];
  }
}

/** Another version of this page may have kept something else. */
function isDocument(kept: Partial<Record<string, unknown>> | null): boolean {
  const { kind, id, name, bytes, pages, width, height } = kept ?? {};
  const numbers = kind === "image" ? [bytes, width, height] : [bytes, pages];
  return (
    (kind === "pdf" || kind === "image") &&
    [id, name].every((text) => typeof text === "string") &&
    numbers.every((number) => typeof number === "number")
  );
}
