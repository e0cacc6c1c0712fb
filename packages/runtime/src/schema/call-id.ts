import { Code, ConnectError } from "@connectrpc/connect";
import type { ServiceBinding } from "./binding.js";

/** Owner of a call when the connection names none. */
export const anyOwner = "_";

/** Second last token of the subjects of calls whose id was given by the caller. */
const givenSession = "_";

const token = /^[A-Za-z0-9_=+@:-]{1,128}$/;

/**
 * Checks the token that keeps the calls of one owner from those of others.
 * Throws Code.InvalidArgument.
 */
export function checkOwner(owner: string): string {
  if (!token.test(owner)) {
    throw new ConnectError(
      `owner "${owner}" must be 1 to 128 letters, digits or any of _ = + @ : -: correct JETRPC_OWNER, or owner`,
      Code.InvalidArgument,
    );
  }
  return owner;
}

/** Checks a call id that a caller gives. Throws Code.InvalidArgument. */
export function checkCallId(callId: string): string {
  if (typeof callId !== "string" || !token.test(callId)) {
    const wrong = `${callId}`.match(/[^A-Za-z0-9_=+@:-]/u)?.[0];
    throw new ConnectError(
      `call id ${typeof callId === "string" ? JSON.stringify(callId) : `of type ${typeof callId}`} must be 1 to 128 letters, digits or any of _ = + @ : -${wrong === undefined ? "" : `, without ${JSON.stringify(wrong)}`}`,
      Code.InvalidArgument,
    );
  }
  return callId;
}

/**
 * The last two subject tokens of a call: `<session>.<number>` for an id that a
 * client made, so that the client hears all its calls by one subscription, and
 * `_.<id>` for an id that the caller gave.
 */
function callTokens(callId: string): string {
  // A caller without types may give anything.
  const dot = String(callId).indexOf(".");
  if (dot < 0) {
    return `${givenSession}.${checkCallId(callId)}`;
  }
  checkCallId(callId.slice(0, dot));
  checkCallId(callId.slice(dot + 1));
  return callId;
}

/** The owner of a queued request, and the call that it is of. */
export interface CallName {
  readonly owner: string;
  readonly callId: string;
  /** `<owner>.<session>.<id>`: what all subjects of the call end with. */
  readonly suffix: string;
}

/** Names a call. Throws Code.InvalidArgument for an impossible id. */
export function nameCall(owner: string, callId: string): CallName {
  return { owner, callId, suffix: `${owner}.${callTokens(callId)}` };
}

/**
 * Reads a call's name from a subject of its service: `<prefix>.<kind>.<Method>`, then
 * owner, session and id. Undefined for a subject that names no call: a server takes a
 * message on `….*`, and a reader of the log of that would find all logs.
 */
export function parseCallSubject(
  { prefix }: ServiceBinding,
  subject: string,
): CallName | undefined {
  const [, , ...tokens] = subject.slice(prefix.length + 1).split(".");
  return parseSuffix(tokens);
}

/** Reads owner, session and id; undefined for what names no call. */
export function parseSuffix(tokens: readonly string[]): CallName | undefined {
  return tokens.length === 3 && tokens.every((each) => token.test(each))
    ? nameOfSuffix(tokens.join("."))
    : undefined;
}

/** The call whose subjects end with `<owner>.<session>.<id>`. */
export function nameOfSuffix(suffix: string): CallName {
  const [owner = "", session = "", id = ""] = suffix.split(".");
  return { owner, callId: session === givenSession ? id : `${session}.${id}`, suffix };
}
