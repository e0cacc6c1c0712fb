import { Code, ConnectError } from "@connectrpc/connect";

/** An error in words for a person. */
export function errorText(error: unknown): string {
  const { code, rawMessage } = ConnectError.from(error);
  if (code === Code.Unknown || code === Code.Internal) {
    return rawMessage || "Something went wrong";
  }
  return rawMessage || (Code[code] ?? "Something went wrong");
}

/** True for an error that is over when the other side is back. */
export function isLost(error: unknown): boolean {
  const { code, rawMessage } = ConnectError.from(error);
  // As browsers say it of a request, and of a response that breaks off.
  const texts =
    /failed to fetch|network ?error|load failed|network connection|error in input stream/i;
  return code === Code.Unavailable || texts.test(rawMessage);
}
