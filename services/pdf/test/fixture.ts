import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PDFiumLibrary } from "@hyzyla/pdfium";
import { ConnectError } from "@jetrpc/runtime";

/** A document of the folder fixtures. */
export function fixture(name: string): Uint8Array {
  return readFileSync(join(import.meta.dirname, "../fixtures", name));
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

/** The ConnectError that a call ends with. */
export async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => "no error",
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectError)) {
    throw new Error(`the call ended with ${String(error)}`);
  }
  return error;
}

/** The text of each page by PDFium's own wrapper, in this thread. */
export async function extractDirectly(document: Uint8Array, password?: string): Promise<string[]> {
  const library = await PDFiumLibrary.init();
  const opened = await library.loadDocument(document, password);
  const texts = [...opened.pages()].map((page) => page.getText());
  opened.destroy();
  library.destroy();
  return texts;
}
