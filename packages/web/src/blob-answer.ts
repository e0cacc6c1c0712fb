import { Code, ConnectError } from "@connectrpc/connect";
import { codeFromString } from "@connectrpc/connect/protocol-connect";

/** Codes of answers to HEAD, which have no body that says so. */
const codes: Readonly<Record<number, Code>> = {
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  413: Code.ResourceExhausted,
  416: Code.OutOfRange,
  429: Code.Unavailable,
  502: Code.Unavailable,
  503: Code.Unavailable,
  504: Code.Unavailable,
};

/** The error that an answer to a request for a Blob is. */
export async function errorOfAnswer(what: string, response: Response): Promise<ConnectError> {
  const text = await response.text().catch(() => "");
  const { code, message } = parse(text);
  const retryAfter = response.headers.get("retry-after");
  return new ConnectError(
    `${what}: ${message || `the gateway answers ${response.status}`}`,
    (code && codeFromString(code)) || codes[response.status] || Code.Unknown,
    retryAfter ? { "retry-after": retryAfter } : undefined,
  );
}

function parse(text: string): { code?: string; message?: string } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
