import { Code } from "@connectrpc/connect";
import type { MsgHdrs } from "@nats-io/nats-core";
import { causedError } from "./caused-error.js";

/** All that a Headers can be made from; the name is not global in every runtime. */
export type HeadersInit = ConstructorParameters<typeof Headers>[0];

/** Response trailers carry this prefix, as in Connect's unary protocol. */
const trailerPrefix = "trailer-";

/** A response header whose own name begins like that of a trailer carries this one. */
const headerPrefix = "Jetrpc-Header-";

/**
 * Metadata of the error in a dead letter, beside the metadata of its request, which may
 * have names that begin with `trailer-`.
 */
const letterPrefix = "Jetrpc-Trailer-";

/** The headers that a caller gave. Throws InvalidArgument when no header can be so. */
export function toHeaders(init: HeadersInit): Headers {
  try {
    return new Headers(init);
  } catch (cause) {
    const text = `impossible headers: ${String(cause)}`;
    throw causedError(text, Code.InvalidArgument, cause);
  }
}

/** Adds metadata to other metadata. */
export function appendMetadata(to: Headers, from: Headers): void {
  from.forEach((value, name) => {
    to.append(name, value);
  });
}

/** True when there is no metadata. */
export function isEmpty(metadata: Headers): boolean {
  return metadata.keys().next().done === true;
}

/**
 * Whose metadata is read: that of a request, the leading or the trailing part of a
 * response, or that of the error in a dead letter.
 */
export type MetadataPart = "request" | "header" | "trailer" | "letter";

/** Metadata that a message carries. */
export function readMetadata(from: MsgHdrs | undefined, part: MetadataPart = "header"): Headers {
  const metadata = new Headers();
  for (const [name, values] of from ?? []) {
    const key = metadataName(name.toLowerCase(), part);
    for (const value of key === undefined ? [] : values) {
      try {
        metadata.append(key as string, value);
      } catch {
        // A name or value that no Headers can hold was not put there by us.
      }
    }
  }
  return metadata;
}

/** The header that carries metadata; undefined for a name that is not sent. */
export function headerName(name: string, part: MetadataPart): string | undefined {
  switch (part) {
    case "letter":
      return letterPrefix + name;
    case "trailer":
      return trailerPrefix + name;
    default:
      if (isReserved(name)) {
        return undefined;
      }
      return part === "header" && name.startsWith(trailerPrefix) ? headerPrefix + name : name;
  }
}

/** The name of what a header carries in a part of the metadata; undefined when it is not of that. */
function metadataName(name: string, part: MetadataPart): string | undefined {
  const after = (prefix: string) =>
    name.startsWith(prefix.toLowerCase()) ? name.slice(prefix.length) : undefined;
  switch (part) {
    case "letter":
      return after(letterPrefix);
    case "trailer":
      return after(trailerPrefix);
    case "request":
      return isReserved(name) ? undefined : name;
    default:
      return isReserved(name) || name.startsWith(trailerPrefix) ? after(headerPrefix) : name;
  }
}

function isReserved(name: string): boolean {
  return name.startsWith("nats-") || name.startsWith("jetrpc-") || name === "content-type";
}
