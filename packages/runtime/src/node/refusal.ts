import { Code, type ConnectError } from "@connectrpc/connect";
import { errors } from "@nats-io/nats-core";
import { causedError } from "../message/caused-error.js";
import type { Settings } from "./settings.js";

/** Says why a server did not take a connection, and what to do about it. */
export function refusal(settings: Settings, address: string, cause: unknown): ConnectError {
  const [code, text] = explain(settings, address, cause);
  if (cause instanceof Error && "cert" in cause) {
    // It refers to itself: a logger that writes the error as JSON would fail.
    delete cause.cert;
  }
  return causedError(text, code, cause);
}

function explain(settings: Settings, address: string, cause: unknown): [Code, string] {
  const { code = "", message = "" } = (cause ?? {}) as NodeJS.ErrnoException;
  if (isAuthError(cause)) {
    const text = `the NATS server at ${address} refuses ${settings.credentials.describe()}: ${message}`;
    return [Code.Unauthenticated, text];
  }
  const distrust = distrusted[code]?.replace("NATS_URL", settings.source);
  if (distrust) {
    return [Code.Unauthenticated, `the certificate of the NATS server at ${address} ${distrust}`];
  }
  if (isAlert(cause)) {
    return [
      Code.Unauthenticated,
      settings.hasCertificate
        ? `the NATS server at ${address} refuses the certificate in NATS_TLS_CERT (${code}): get one that its CA has signed and that has not expired`
        : `the NATS server at ${address} asks for a client's certificate: set NATS_TLS_CERT and NATS_TLS_KEY`,
    ];
  }
  if (message === "server does not support 'tls'") {
    return [
      Code.FailedPrecondition,
      `the NATS server at ${address} offers no TLS, which tls:// or NATS_TLS_… demand: configure it there, or write nats:// and unset them`,
    ];
  }
  return [Code.Unavailable, unavailable(settings.source, address, cause, code)];
}

function unavailable(source: string, address: string, cause: unknown, code: string): string {
  const text = cause instanceof Error ? cause.message : "";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return `the name of the NATS server at ${address} does not resolve (${code}): correct ${source}`;
  }
  if (text === "connection refused") {
    return `no NATS server answers at ${address}: start one, or name another in ${source}`;
  }
  if (address.endsWith(":8222")) {
    return `${address} is the monitoring port of a NATS server by default: name the port for clients in ${source}, 4222 by default`;
  }
  if (cause instanceof errors.TimeoutError) {
    return `what listens at ${address} does not greet as a NATS server does: is it one, and is it well?`;
  }
  if (text === "unexpected response from server") {
    return `what listens at ${address} is no NATS server: correct ${source}`;
  }
  if (cause instanceof errors.AuthorizationError) {
    return `the NATS server at ${address} got the credentials too late (${text}): this machine or the network is slow; try again, or raise authorization.timeout there, 2 s by default`;
  }
  if (isHangup(cause)) {
    return `the NATS server at ${address} hung up without a reason: see its log (max_connections is one, credentials that come too late another)`;
  }
  return `the NATS server at ${address} cannot be reached: ${text}`;
}

/** Codes of Node for a server's certificate, and what to do. */
const distrusted: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_GET_ISSUER_CERT",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "CERT_SIGNATURE_FAILURE",
    ].map((code) => [
      code,
      "is of a CA that is not trusted here: set NATS_TLS_CA to that CA's certificate",
    ]),
  ),
  DEPTH_ZERO_SELF_SIGNED_CERT:
    "is self-signed: set NATS_TLS_CA to it, or to that of the CA if there is one",
  CERT_HAS_EXPIRED: "has expired: renew it, or correct this machine's clock",
  CERT_NOT_YET_VALID: "is not valid yet: correct the clock of this machine or of its CA",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "is for another host: name the server in NATS_URL as its certificate does, or get one with that name",
};

/** A server that is slow to check credentials has not refused them. */
function isAuthError(cause: unknown): boolean {
  return (
    (cause instanceof errors.AuthorizationError && !/timeout/i.test(cause.message)) ||
    cause instanceof errors.UserAuthenticationExpiredError
  );
}

/** The server ended the handshake of TLS for what the client is. */
export function isAlert(cause: unknown): boolean {
  return /_ALERT_(?!PROTOCOL_VERSION)/.test(
    (cause as NodeJS.ErrnoException | undefined)?.code ?? "",
  );
}

/** The connection ended without a word of the server. */
export function isHangup(cause: unknown): boolean {
  const { code = "", message = "" } = (cause ?? {}) as NodeJS.ErrnoException;
  return code === "ECONNRESET" || code === "EPIPE" || message.endsWith("an undefined error");
}
