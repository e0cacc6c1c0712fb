import { Code, ConnectError } from "@connectrpc/connect";
import { neverRan, permanent } from "./error-marks.js";
import { HeaderBlock, linesSize } from "./header.js";

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

/** Metadata of a request. Throws what {@link checkMetadata} throws: nothing was sent. */
export function requestMetadata(metadata: Headers, maxPayload: number): HeaderBlock {
  try {
    return checkMetadata(
      new HeaderBlock().addMetadata(metadata, "request"),
      maxPayload,
      "the request",
    );
  } catch (error) {
    throw neverRan(error as ConnectError);
  }
}
