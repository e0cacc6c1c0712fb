import type { DescMessage, Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { getLast } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { until } from "../link/until.js";
import { Header } from "../message/header.js";
import { maxObjects } from "../message/request-objects.js";
import type { ServiceBinding } from "../schema/binding.js";
import { blobsIn } from "../schema/blob-fields.js";
import { bucketStream, checkSpace, chunkSubject } from "../schema/object-name.js";
import { attach } from "./blob.js";
import type { StoredObject } from "./object-writer.js";

/**
 * Lets a request be sent whose Blobs are objects of `space` already; that they are there is seen
 * when it is submitted. Throws InvalidArgument for a Blob that was not uploaded, PermissionDenied
 * for an object of another space.
 */
export function attachUploaded(space: string, schema: DescMessage, message: Message): void {
  for (const blob of blobsIn(schema, message)) {
    const { object, size, digest } = blob;
    if (object === "" || !/^SHA-256=[\w-]{43}=$/.test(digest) || size < 0n) {
      const text = `a Blob of ${schema.typeName} has no object, size or digest: upload it, and send the Blob that answers`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    checkSpace(object, space);
    if (!(uploadIndex(object) < maxObjects) || object !== `${space}.${uploadIndex(object)}`) {
      throw new ConnectError(`"${object}" names no upload`, Code.InvalidArgument);
    }
    const uploaded = { name: object, size: Number(size), digest };
    const open = () => {
      throw new ConnectError("the bytes of an upload are not here", Code.FailedPrecondition);
    };
    attach(blob, { open, isRereadable: true, uploaded });
  }
}

/** The number at the end of the name of an upload. */
export function uploadIndex(object: string): number {
  return Number(object.slice(object.lastIndexOf(".") + 1));
}

/** The upload as it is. Throws FailedPrecondition when it is not there, not complete, or other bytes. */
export async function checkUploaded(
  link: Link,
  service: ServiceBinding,
  object: StoredObject,
): Promise<StoredObject> {
  const { name, size, digest } = object;
  const stream = bucketStream(service);
  const last = await until(link, () => getLast(link, stream, chunkSubject(service, name)));
  const stored = last?.headers?.get(Header.uploaded);
  if (stored !== digest || last?.headers?.get(Header.chunk).split(" ")[1] !== String(size)) {
    const has = stored ? "holds other bytes" : last ? "is not complete" : "is not there";
    const text = `upload ${name} ${has}: upload the Blob before its call is submitted`;
    throw new ConnectError(text, Code.FailedPrecondition);
  }
  return object;
}
