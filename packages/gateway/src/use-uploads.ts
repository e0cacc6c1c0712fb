import type { DescMethod, Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Connection } from "@jetrpc/runtime";
import { attachUploads } from "@jetrpc/runtime/node";
import { blobsIn, holdsBlobs } from "@jetrpc/runtime/schema";

/**
 * Lets a request be submitted whose Blobs were uploaded. Throws InvalidArgument when it has one
 * and no call id: an upload is of a call; otherwise as attachUploads().
 */
export function useUploads(
  connection: Connection,
  desc: DescMethod,
  callId: string | undefined,
  message: Message,
): void {
  if (!holdsBlobs(desc.input) || blobsIn(desc.input, message).length === 0) {
    return;
  }
  if (callId === undefined) {
    const text = `${desc.toString()}: a Blob is uploaded for a call id, which is to be given as Idempotency-Key`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  attachUploads(connection, desc, callId, message);
}
