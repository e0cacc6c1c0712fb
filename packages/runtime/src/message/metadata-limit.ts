import { Code, ConnectError } from "@connectrpc/connect";
import { neverRan, permanent } from "./error-marks.js";
import { HeaderBlock, linesSize } from "./header.js";
import { isEmpty } from "./metadata.js";

/** Names of one trace context: that of a caller is never mixed with that of an observer. */
const traceContext = ["traceparent", "tracestate"];

/** Stands beside a trace context, and is no part of it. */
const baggage = "baggage";

/** Most bytes of metadata, so that all fits beside it that a call may need later. */
const maxMetadataBytes = 32 * 1024;

/**
 * Most bytes of metadata that a message may carry, each name and value with the four bytes
 * around them: 32 KiB, or a quarter of the server's max_payload where that is less.
 */
export function metadataLimit(maxPayload: number): number {
  return Math.min(maxMetadataBytes, Math.floor(maxPayload / 4));
}

/** Throws ResourceExhausted, for good, above {@link metadataLimit}. `what` is a request or a response. */
export function checkMetadata(block: HeaderBlock, maxPayload: number, what: string): HeaderBlock {
  const size = linesSize(block);
  const limit = metadataLimit(maxPayload);
  if (size > limit) {
    const text = `the metadata of ${what} has ${size} bytes, and may have ${limit}: put what is large into the message`;
    throw permanent(new ConnectError(text, Code.ResourceExhausted));
  }
  return block;
}

/** What an observer adds to the metadata of a request. */
export interface MetadataBeside {
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The `traceparent` of the caller's that it continues, and so takes the place of. */
  readonly continues?: string | undefined;
}

/**
 * Metadata of a request: what its caller gave, and what goes along besides as far as there is
 * room for it: no call may fail by that. A trace context of the caller's wins whole, unless it is
 * continued. Undefined when there is none. Throws what
 * {@link checkMetadata} throws for the caller's: nothing was sent.
 */
export function requestMetadata(
  callers: Headers | undefined,
  beside: MetadataBeside | undefined,
  maxPayload: number,
): HeaderBlock | undefined {
  const more = beside?.metadata;
  if (!more && (!callers || isEmpty(callers))) {
    return undefined;
  }
  const given = callers && withoutContinued(callers, beside?.continues);
  const block = new HeaderBlock();
  try {
    if (given) {
      checkMetadata(block.addMetadata(given, "request"), maxPayload, "the request");
    }
  } catch (error) {
    throw neverRan(error as ConnectError);
  }
  if (more) {
    const isTraced =
      given &&
      [...traceContext, ...Object.keys(more)].some((name) => name !== baggage && given.has(name));
    let room = metadataLimit(maxPayload) - (given ? linesSize(block) : 0);
    for (const name in more) {
      const value = more[name] as string;
      if (name === baggage ? given?.has(name) : isTraced) {
        continue;
      }
      const size = name.length + value.length + 4;
      if (size <= room) {
        room -= size;
        block.add(name, value);
      }
    }
  }
  return block.isEmpty ? undefined : block;
}

function withoutContinued(callers: Headers, continued: string | undefined): Headers {
  if (continued === undefined || callers.get("traceparent") !== continued) {
    return callers;
  }
  const rest = new Headers(callers);
  for (const name of traceContext) {
    rest.delete(name);
  }
  return rest;
}
