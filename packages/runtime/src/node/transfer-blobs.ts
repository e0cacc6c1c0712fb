import type { DescMethod, Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Connection, internalsOf } from "../connection.js";
import { refuseOtherDomainOnce } from "../link/domain.js";
import { maxObjects } from "../message/request-objects.js";
import { readObject } from "../objects/object-reader.js";
import type { StoredObject } from "../objects/object-writer.js";
import { Upload } from "../objects/upload.js";
import { attachUploaded } from "../objects/uploaded-blobs.js";
import { bindMethod } from "../schema/binding.js";
import { checkCallId, nameCall } from "../schema/call-id.js";
import { parseObjectName, uploadSpace } from "../schema/object-name.js";

// For a server that takes and gives the bytes of Blobs over another protocol than NATS.

/**
 * The upload of a Blob in parts, by any number of processes, of which the one that began last
 * goes on.
 *
 * All methods throw Aborted when another process goes on with it, Unavailable when the server
 * does not answer for a minute, and ResourceExhausted when its storage is full.
 */
export interface BlobUpload {
  /** The number of bytes that are known to be stored. */
  readonly bytes: number;
  /** The object, when it is known to be complete. */
  readonly object: StoredObject | undefined;
  /** Reads how much is stored. */
  refresh(): Promise<void>;
  /**
   * Stores what a source yields from byte `offset` of the object on; what is there of it is passed
   * over. From 0 on it is stored anew. Throws Aborted, too, when less than `offset` bytes are
   * there, when the last ones are seen to differ, and when it is complete.
   */
  append(offset: number, source: AsyncIterable<Uint8Array>): Promise<void>;
  /**
   * Completes it after `append()`. Throws InvalidArgument when its bytes have another digest than
   * `expected`, and removes it.
   */
  complete(expected?: string): Promise<StoredObject>;
}

/**
 * The upload of a Blob of a call that is submitted later, as the connection's owner. `index` tells
 * the Blobs of the call apart: 0 to 9,999. Throws InvalidArgument for an impossible id or index.
 */
export async function openUpload(
  connection: Connection,
  desc: DescMethod,
  callId: string,
  index: number,
): Promise<BlobUpload> {
  const { link } = internalsOf(connection);
  const method = bindMethod(desc);
  const space = uploadSpace(method, nameCall(connection.owner, checkCallId(callId)));
  if (!(Number.isInteger(index) && index >= 0 && index < maxObjects)) {
    const text = `a Blob has a number from 0 to ${maxObjects - 1}`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  await refuseOtherDomainOnce(link, method);
  return new Upload(link, method.service, `${space}.${index}`);
}

/**
 * Lets a request be submitted with a call id whose Blobs are uploads of that call. Submitting
 * throws FailedPrecondition when one is not there, or not complete. Throws InvalidArgument for a
 * Blob that was not uploaded, PermissionDenied for one of another call.
 */
export function attachUploads(
  connection: Connection,
  desc: DescMethod,
  callId: string,
  request: Message,
): void {
  const call = nameCall(connection.owner, checkCallId(callId));
  attachUploaded(uploadSpace(bindMethod(desc), call), desc.input, request);
}

/**
 * Reads the object of a Blob of a response from byte `start` on; from 0 on its digest is checked
 * at the end. Throws NotFound for an object of another method or owner, otherwise as `openBlob()`.
 */
export function readBlob(
  connection: Connection,
  desc: DescMethod,
  object: StoredObject,
  start = 0,
): AsyncIterable<Uint8Array> {
  const { link } = internalsOf(connection);
  const { kind, method, suffix = "" } = parseObjectName(object.name) ?? {};
  const isOwn = suffix.startsWith(`${connection.owner}.`) && /^[\w.=+@:-]+$/.test(object.name);
  if (kind !== "log" || method !== desc.name || !isOwn) {
    const text = `no response of your calls of ${desc.toString()} has an object ${object.name}`;
    throw new ConnectError(text, Code.NotFound);
  }
  return readObject(link, bindMethod(desc).service, object, start);
}
