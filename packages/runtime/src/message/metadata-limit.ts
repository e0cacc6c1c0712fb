import { Code, ConnectError } from "@connectrpc/connect";
import { HeaderBlock, linesSize, metadataLimit } from "./header.js";
import { neverRan, permanent } from "./status.js";

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
