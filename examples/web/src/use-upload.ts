import { ImageFormat, type PdfClient } from "@jetrpc-examples/pdf-v1-client";
import { useState } from "react";
import type { SentDocument } from "./documents.js";
import { failureText } from "./failure-text.js";
import { watchUploads } from "./fetch-with-progress.js";

/** A file on its way. */
export interface Upload {
  readonly name: string;
  /** From 0 to 1; undefined when it has failed. */
  readonly sent: number | undefined;
  readonly failure: string | undefined;
}

const largestMegabytes = 40;

/** Pictures of pages are this fine: enough for a screen. */
const dotsPerInch = 96;

/** Sends documents, one at a time, and submits the calls for each. */
export function useUpload(pdf: PdfClient, onSent: (document: SentDocument) => void) {
  const [upload, setUpload] = useState<Upload>();

  const send = async (file: File) => {
    const show = (sent: number) => setUpload({ name: file.name, sent, failure: undefined });
    show(0);
    try {
      if (file.size > largestMegabytes * 1e6) {
        throw new Error(`It has more than ${largestMegabytes} MB.`);
      }
      const document = new Uint8Array(await file.arrayBuffer());
      const id = crypto.randomUUID();
      // It is sent three times: the server keeps a copy for each call.
      let part = 0;
      const watched = <T>(work: () => Promise<T>) =>
        watchUploads((sent, total) => show((part + sent / total) / 3), work).finally(() => part++);
      // Answered at once: a bad file is told before anything is stored.
      const { pageCount } = await watched(() => pdf.getInfo({ document }));
      await watched(() => pdf.extractText.submit({ document }, { callId: id }));
      const request = { document, dpi: dotsPerInch, format: ImageFormat.WEBP };
      await watched(() => pdf.renderPages.submit(request, { callId: id }));
      setUpload(undefined);
      onSent({ id, name: file.name, bytes: file.size, pages: pageCount });
    } catch (error) {
      setUpload({ name: file.name, sent: undefined, failure: failureText(error) });
    }
  };
  return { upload, send, forget: () => setUpload(undefined) };
}
