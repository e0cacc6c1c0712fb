import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { Link } from "../link/link.js";
import type { ServiceBinding } from "../schema/binding.js";
import { blobsIn } from "../schema/blob-fields.js";
import { checkSpace } from "../schema/object-name.js";
import { attach } from "./blob.js";
import { readObject } from "./object-reader.js";

/** Lets the Blobs of a message that came in be read. */
export function bindBlobs(
  link: Link,
  service: ServiceBinding,
  space: string,
  schema: DescMessage,
  message: Message,
): void {
  for (const blob of blobsIn(schema, message)) {
    const open = () => {
      checkSpace(blob.object, space);
      const object = { name: blob.object, size: Number(blob.size), digest: blob.digest };
      return readObject(link, service, object);
    };
    attach(blob, { open, isRereadable: true });
  }
}
