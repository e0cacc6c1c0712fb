import { Code, ConnectError } from "@jetrpc/runtime";

const texts: Partial<Record<Code, string>> = {
  [Code.InvalidArgument]: "This file is not a PDF, or it is damaged.",
  [Code.FailedPrecondition]: "This document is locked with a password.",
  [Code.PermissionDenied]: "This document may not be opened.",
  [Code.ResourceExhausted]:
    "This document asks for more than we can give: too many pixels or pages.",
  [Code.NotFound]: "There is no such document of yours, or it was removed after a week.",
  [Code.Unavailable]: "The service cannot be reached. Try again in a moment.",
  [Code.DeadlineExceeded]: "The service did not answer in time. Try again in a moment.",
  [Code.Canceled]: "This was canceled.",
};

/** Tells a user what went wrong. */
export function failureText(error: unknown): string {
  if (error instanceof ConnectError) {
    return texts[error.code] ?? error.rawMessage;
  }
  return error instanceof Error ? error.message : String(error);
}
