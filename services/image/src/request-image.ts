import { type Blob, Code, ConnectError, openBlob, permanent } from "@jetrpc/runtime";

/** A request with an image in one of two fields. */
export interface ImageRequest {
  readonly image: Uint8Array;
  readonly file?: Blob | undefined;
}

/**
 * The image of a request. Throws InvalidArgument when it has none or two, and
 * ResourceExhausted when it has more than `maxBytes`.
 */
export async function readImage(
  { image, file }: ImageRequest,
  maxBytes: number,
): Promise<Uint8Array> {
  if (!file) {
    checkBytes(image.length, maxBytes);
    return image;
  }
  if (image.length > 0) {
    throw new ConnectError(
      "the request has both `image` and `file`: give one of them",
      Code.InvalidArgument,
    );
  }
  checkBytes(Number(file.size), maxBytes);
  const chunks: Uint8Array[] = [];
  for await (const chunk of openBlob(file)) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Throws ResourceExhausted for too many bytes. */
export function checkBytes(bytes: number, maxBytes: number): void {
  if (bytes > maxBytes) {
    throw permanent(
      new ConnectError(
        `the image has ${bytes} bytes, and this worker grants ${maxBytes}: make it smaller`,
        Code.ResourceExhausted,
      ),
    );
  }
}
