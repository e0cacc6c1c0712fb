import type { IncomingMessage, ServerResponse } from "node:http";
import type { ConnectError } from "@connectrpc/connect";
import {
  codeToHttpStatus,
  endStreamFlag,
  endStreamToJson,
  errorToJson,
} from "@connectrpc/connect/protocol-connect";
import type { Form } from "./login.js";

/** What every answer has: the page is no part of another one, and runs nothing but its own files. */
export const safetyHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; "),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** Answers with a line of text. */
export function answerText(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" })
    .end(`${text}\n`);
}

/** Answers a request of Connect's protocol with an error. */
export function answerRefused(
  { headers }: IncomingMessage,
  response: ServerResponse,
  error: ConnectError,
): void {
  const type = headers["content-type"] ?? "";
  const isStream = type.startsWith("application/connect+");
  const json = isStream
    ? endStreamToJson(new Headers(), error, undefined)
    : errorToJson(error, undefined);
  const text = Buffer.from(JSON.stringify(json));
  const prefix = Buffer.alloc(isStream ? 5 : 0);
  if (isStream) {
    prefix.writeUInt8(endStreamFlag);
    prefix.writeUInt32BE(text.length, 1);
  }
  response
    .writeHead(isStream ? 200 : codeToHttpStatus(error.code), {
      "content-type": isStream ? type : "application/json",
      "cache-control": "no-store",
    })
    .end(Buffer.concat([prefix, text]));
}

/** Answers with a document that needs no script; it may have a form for a token. */
export function answerDocument(
  response: ServerResponse,
  status: number,
  { title, text, form }: { title: string; text: string; form?: Form },
): void {
  const fields = form
    ? `<form method="post" action="/login"><p><label>Token <input type="password" name="token" autocomplete="off" required autofocus></label></p><input type="hidden" name="back" value="${escapeHtml(form.back)}"><p><button>Log in</button></p></form>`
    : "";
  const document = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>${escapeHtml(title)}</title></head>
<body><main><h1>${escapeHtml(title)}</h1><p>${escapeHtml(text)}</p>${fields}</main></body>
</html>
`;
  response
    .writeHead(status, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" })
    .end(document);
}

/** Sends a browser to another address. */
export function answerRedirect(response: ServerResponse, to: string, cookie?: string): void {
  response
    .writeHead(303, {
      location: to,
      "cache-control": "no-store",
      ...(cookie !== undefined && { "set-cookie": cookie }),
    })
    .end();
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
  };
  return text.replaceAll(/[&<>"]/g, (character) => entities[character] as string);
}
