import { Code, ConnectError } from "@jetrpc/runtime";
import type { SentDocument } from "./documents.js";

const damaged: Record<SentDocument["kind"], string> = {
  pdf: "This file is not a PDF, or it is damaged.",
  image:
    "This file is not an image that can be read, or it is damaged. Send a JPEG, PNG, WebP, GIF, AVIF or TIFF.",
};

const texts: Partial<Record<Code, string>> = {
  [Code.FailedPrecondition]: "This document is locked with a password.",
  [Code.PermissionDenied]: "This document may not be opened.",
  [Code.ResourceExhausted]:
    "This document asks for more than we can give: too many pixels or pages.",
  [Code.NotFound]: "There is no such document of yours, or it was removed after a week.",
  [Code.Unimplemented]: "Files of this kind are not read here.",
  [Code.Unavailable]: "The service cannot be reached. Try again in a moment.",
  [Code.DeadlineExceeded]: "The service did not answer in time. Try again in a moment.",
  [Code.Canceled]: "This was canceled.",
};

/** Tells a user what went wrong, with a document of some kind or with the login. */
export function failureText(error: unknown, kind: SentDocument["kind"] = "pdf"): string {
  if (error instanceof ConnectError) {
    const text = error.code === Code.InvalidArgument ? damaged[kind] : texts[error.code];
    return text ?? error.rawMessage;
  }
  if (error instanceof DOMException) {
    return "This cannot be read: it is a folder, or it was changed. Choose the file again.";
  }
  return error instanceof Error ? error.message : String(error);
}
