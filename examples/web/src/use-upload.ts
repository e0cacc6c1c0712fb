import { blobOf } from "@jetrpc/runtime";
import { ImageFormat } from "@jetrpc-examples/image-v1-client";
import { ImageFormat as PageFormat } from "@jetrpc-examples/pdf-v1-client";
import { useState } from "react";
import { countText } from "./count-text.js";
import type { SentDocument, SentImage, SentPdf } from "./documents.js";
import { failureText } from "./failure-text.js";
import { watchUploads } from "./fetch-with-progress.js";
import type { Session } from "./session.js";

/** A file on its way. */
export interface Upload {
  readonly name: string;
  /** From 0 to 1; undefined when it has failed. */
  readonly sent: number | undefined;
  readonly failure: string | undefined;
  /** Ends it, or takes the failure off the page. */
  readonly forget: () => void;
}

/** A call that may have been submitted. */
interface Submitted {
  cancel(): Promise<boolean>;
}

/** Largest files, in MB: what the workers grant. */
const largestMegabytes = { pdf: 40, image: 25 };

/** Pictures of pages are this fine: enough for a screen. */
const dotsPerInch = 96;

/** Pixels of the longer side of the picture of an image: enough for a screen. */
const previewPixels = 1_600;

/** Each file is sent to be looked at, and with each of two calls. */
const timesSent = 3;

/** Sends documents, one at a time, and submits the calls for each. */
export function useUpload(session: Session, onSent: (document: SentDocument) => void) {
  const [upload, setUpload] = useState<Upload>();

  const send = async ([file, ...others]: readonly File[]) => {
    if (!file) {
      return;
    }
    const canceling = new AbortController();
    const { signal } = canceling;
    const forget = () => {
      canceling.abort();
      setUpload(undefined);
    };
    const fail = (name: string, failure: string) =>
      setUpload({ name, sent: undefined, failure, forget });
    if (others.length > 0) {
      fail(countText(others.length + 1, "file"), "cannot be sent together. Send one at a time.");
      return;
    }
    const show = (sent: number) => setUpload({ name: file.name, sent, failure: undefined, forget });
    show(0);
    try {
      if (file.size === 0) {
        throw new Error("It is empty.");
      }
      const kind = await kindOf(file);
      if (file.size > largestMegabytes[kind] * 1e6) {
        throw new Error(`It has more than ${largestMegabytes[kind]} MB.`);
      }
      const submit = kind === "image" ? submitImage : submitPdf;
      const document = await watchUploads<SentDocument>(
        (bytes) => !signal.aborted && show(Math.min(1, bytes / (timesSent * file.size))),
        () => submit(session, file, signal),
      );
      setUpload(undefined);
      onSent(document);
    } catch (error) {
      if (!signal.aborted) {
        fail(file.name, failureText(error, seemsImage(file) ? "image" : "pdf"));
      }
    }
  };
  return { upload, send };
}

/** By its name: of a damaged file it tells what it was to be. */
function seemsImage(file: File): boolean {
  return file.type.startsWith("image/");
}

/** How files of the images that are read begin. */
const imageStart = /^(?:\xff\xd8\xff|\x89PNG|GIF8|RIFF.{4}WEBP|.{4}ftypavi[fs]|II\*\0|MM\0\*)/s;

/** The content decides: a browser goes by the name, which may have no ending, or a wrong one. */
async function kindOf(file: File): Promise<SentDocument["kind"]> {
  const bytes = new Uint8Array(await file.slice(0, 1_024).arrayBuffer());
  const start = String.fromCharCode(...bytes);
  if (start.includes("%PDF")) {
    return "pdf";
  }
  return imageStart.test(start) || seemsImage(file) ? "image" : "pdf";
}

/** The bytes are a field of each request. */
async function submitPdf({ pdf }: Session, file: File, signal: AbortSignal): Promise<SentPdf> {
  const document = new Uint8Array(await file.arrayBuffer());
  // Answered at once: a bad file is told before anything is stored.
  const { pageCount: pages } = await pdf.getInfo({ document }, { signal });
  const id = crypto.randomUUID();
  const options = { callId: id, signal };
  await allOrNone(signal, [pdf.extractText.attach(id), pdf.renderPages.attach(id)], async () => {
    await pdf.extractText.submit({ document }, options);
    const request = { document, dpi: dotsPerInch, format: PageFormat.WEBP };
    await pdf.renderPages.submit(request, options);
  });
  return { kind: "pdf", id, name: file.name, bytes: file.size, pages };
}

/** The bytes are a Blob, which goes up in parts, and goes on after a cut. */
async function submitImage(
  { image }: Session,
  file: File,
  signal: AbortSignal,
): Promise<SentImage> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const { width, height } = await image.getInfo({ image: bytes }, { signal });
  const id = crypto.randomUUID();
  const options = { callId: id, signal };
  const blob = () => blobOf(() => file.stream(), { contentType: file.type, fileName: file.name });
  await allOrNone(signal, [image.readText.attach(id), image.convert.attach(id)], async () => {
    await image.readText.submit({ file: blob() }, options);
    const preview = { width: previewPixels, height: previewPixels, format: ImageFormat.WEBP };
    await image.convert.submit({ file: blob(), ...preview }, options);
  });
  return { kind: "image", id, name: file.name, bytes: file.size, width, height };
}

/** Submits calls. When one of them fails, or the user has left, nobody waits for the others. */
async function allOrNone(
  signal: AbortSignal,
  calls: readonly Submitted[],
  submit: () => Promise<void>,
): Promise<void> {
  try {
    await submit();
    signal.throwIfAborted();
  } catch (error) {
    // The failure is told, not that a call which was never submitted is not found.
    void Promise.allSettled(calls.map((call) => call.cancel()));
    throw error;
  }
}
