import { useCallback, useEffect, useState } from "react";

/** A document that a user has sent: the id is that of its calls. */
export interface SentDocument {
  readonly id: string;
  readonly name: string;
  readonly bytes: number;
  readonly pages: number;
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
