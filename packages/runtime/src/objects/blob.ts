import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Blob, BlobSchema } from "../gen/jetrpc/v1/blob_pb.js";
import type { OpenSource, StoredObject } from "./object-writer.js";

/**
 * Where the bytes of a Blob come from. A source that can be read again, a function or bytes,
 * is gone on with by whoever submits the same call again after a crash.
 */
export type BlobSource = Uint8Array | BlobStream | (() => BlobStream);

/** A stream of bytes, split in any way. */
export type BlobStream = AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>;

/** The fields that describe a Blob. */
export interface BlobInfo {
  /** Media type, such as `video/mp4`. Default: empty. */
  contentType?: string | undefined;
  /** Name of the file, without folders. Default: empty. */
  fileName?: string | undefined;
}

/** The parts that are attached to a Blob, unseen. */
export interface Source {
  readonly open: OpenSource;
  readonly isRereadable: boolean;
  /** The object that holds the bytes already. */
  readonly uploaded?: StoredObject;
}

/** A symbol of the registry: an app may load the runtime as an ES module and as CommonJS. */
const source: unique symbol = Symbol.for("jetrpc.blob.source");

type Attached = Blob & { [source]?: Source };

/**
 * Makes a Blob of bytes, of a stream, or of a function that gives a stream each
 * time. Nothing is read before the message that holds it is sent.
 */
export function blobOf(from: BlobSource, { contentType = "", fileName = "" }: BlobInfo = {}): Blob {
  const blob = create(BlobSchema, { contentType, fileName });
  if (typeof from === "function") {
    return attach(blob, { open: () => iterate(from()), isRereadable: true });
  }
  if (from instanceof Uint8Array) {
    const open = async function* () {
      yield from;
    };
    return attach(blob, { open, isRereadable: true });
  }
  let isOpen = false;
  const open = () => {
    if (isOpen) {
      throw new ConnectError(
        "the stream of a Blob was read already: give blobOf() a function that makes a new one",
        Code.FailedPrecondition,
      );
    }
    isOpen = true;
    return iterate(from);
  };
  return attach(blob, { open, isRereadable: false });
}

/**
 * Reads a Blob, no faster than its bytes are taken, and through lost connections.
 * The bytes are right only when the loop ends without an error.
 *
 * Throws DataLoss when its object is gone or damaged, Unavailable when the server
 * does not answer for a minute, PermissionDenied when its object is not of the call
 * that it came with, and FailedPrecondition for a field that is not set and for a Blob
 * that came with no message and is not of `blobOf()`.
 */
export function openBlob(blob: Blob | undefined): AsyncIterable<Uint8Array> {
  if (!blob) {
    throw new ConnectError(
      "there is no Blob to open: the field is not set",
      Code.FailedPrecondition,
    );
  }
  return sourceOf(blob).open();
}

/** Where the bytes of a Blob come from. Errors: see {@link openBlob}. */
export function sourceOf(blob: Blob): Source {
  const its = (blob as Attached)[source];
  if (!its) {
    throw new ConnectError(
      "a Blob that was made by hand or copied has no bytes: make it with blobOf() or fileBlob(), or take the one of the message",
      Code.FailedPrecondition,
    );
  }
  return its;
}

/** Lets the bytes of a Blob be read. */
export function attach(blob: Blob, its: Source): Blob {
  // Not enumerable: whoever compares or prints messages does not see it.
  return Object.defineProperty(blob, source, { value: its, configurable: true });
}

async function* iterate(stream: BlobStream): AsyncGenerator<Uint8Array, void, undefined> {
  if (Symbol.asyncIterator in stream) {
    yield* stream;
    return;
  }
  // Some browsers cannot iterate over a ReadableStream.
  const reader = (stream as ReadableStream<Uint8Array>).getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      yield next.value;
    }
  } finally {
    await reader.cancel();
  }
}
