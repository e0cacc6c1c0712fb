import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { MethodBinding, ServiceBinding } from "./binding.js";
import { type CallName, parseSuffix } from "./call-id.js";

/** A method, or what is left of one that no schema has any more. */
interface Named {
  readonly desc: { readonly name: string };
}

/** Begins the names of the objects of a request. */
export function requestSpace({ desc }: Named, call: CallName): string {
  return `queue.${desc.name}.${call.suffix}`;
}

/** Begins the names of the Blobs of a request that are stored before it is submitted. */
export function uploadSpace(method: Named, call: CallName): string {
  return `${requestSpace(method, call)}.${uploadBase}`;
}

/** Where others have a NUID or a digest. */
export const uploadBase = "upload";

/** Begins the names of the objects of a durable response. */
export function responseSpace(method: MethodBinding, call: CallName): string {
  return `log.${method.desc.name}.${call.suffix}`;
}

/** Whose an object is. */
export interface ObjectOwner {
  readonly kind: "queue" | "log" | "rpc";
  /** Name of the method. */
  readonly method: string;
  /** `<owner>.<session>.<id>` of the call; empty for a direct one. */
  readonly suffix: string;
  /** Tells the objects of two submissions of one call apart. */
  readonly base: string;
}

/** Reads the name of an object. Undefined for one that jetrpc did not give. */
export function parseObjectName(name: string): ObjectOwner | undefined {
  const [kind, method = "", ...rest] = name.split(".");
  if (kind === "rpc" && rest.length === 1) {
    return { kind, method, suffix: "", base: rest[0] ?? "" };
  }
  // Clients choose what they write: a name that no call has is looked up nowhere.
  const call = rest.length === 5 ? parseSuffix(rest.slice(0, 3)) : undefined;
  return call && (kind === "queue" || kind === "log")
    ? { kind, method, suffix: call.suffix, base: rest[3] ?? "" }
    : undefined;
}

/**
 * Throws PermissionDenied for an object that does not begin with `space`: else a
 * caller could have a worker read what is of someone else's call.
 */
export function checkSpace(object: string, space: string): void {
  if (!object.startsWith(`${space}.`) || /[*>\s]/.test(object)) {
    throw new ConnectError(
      `object "${object}" is not of this call: its name must begin with ${space}`,
      Code.PermissionDenied,
    );
  }
}

/** The stream of the bucket. */
export function bucketStream({ payloadBucket }: ServiceBinding): string {
  return `OBJ_${payloadBucket}`;
}

/** Subject of the chunks of an object. */
export function chunkSubject({ payloadBucket }: ServiceBinding, object: string): string {
  return `$O.${payloadBucket}.C.${object}`;
}

/** Subject of what Object Store keeps to say of an object. */
export function metaSubject({ payloadBucket }: ServiceBinding, object: string): string {
  const name = base64Encode(new TextEncoder().encode(object));
  return `$O.${payloadBucket}.M.${name.replaceAll("+", "-").replaceAll("/", "_")}`;
}

/** The object that a subject of the bucket is of; empty where others have written what is none. */
export function objectOf({ payloadBucket }: ServiceBinding, subject: string): string {
  const [kind, ...rest] = subject.slice(`$O.${payloadBucket}.`.length).split(".");
  const name = rest.join(".");
  if (kind !== "M") {
    return name;
  }
  try {
    return new TextDecoder().decode(base64Decode(name));
  } catch {
    return "";
  }
}
