// A Blob is a file of any size in a message. It goes from disk to disk, or from stream to
// stream, and neither side has more of it in memory than some MB.
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blobOf, openBlob } from "@jetrpc/runtime";
import { connect, fileBlob, saveBlob, serve } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

/** Turns each byte around, as it comes. */
async function* invert(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    yield chunk.map((byte) => byte ^ 0xff);
  }
}

await using _server = await startServer();
const worker = await serve(PhotoService, {
  convert({ photo }) {
    // The response is stored while the request is read.
    return photo ? { photo: blobOf(invert(openBlob(photo)), { fileName: "negative.raw" }) } : {};
  },
  async *makeThumbnails({ count }) {
    for (let number = 1; number <= count; number++) {
      yield { picture: blobOf(new Uint8Array(number * 1_000)) };
    }
  },
});

const folder = await mkdtemp(join(tmpdir(), "jetrpc-example-"));
const path = join(folder, "sea.raw");
await writeFile(path, new Uint8Array(5_000_000));

const connection = await connect();
const photos = createPhotoClient(connection);
const call = await photos.convert.submit({ photo: fileBlob(path, { contentType: "image/raw" }) });
const { photo } = await call.result();
console.log(`${photo?.fileName}: ${photo?.size} bytes`);
await saveBlob(photo, join(folder, "negative.raw"));
console.log(`saved: ${(await stat(join(folder, "negative.raw"))).size} bytes`);

// Bytes and streams will do as well as files.
const small = await photos.convert({ photo: blobOf(new Uint8Array([0, 1, 2])) });
for await (const chunk of small.photo ? openBlob(small.photo) : []) {
  console.log("read:", ...chunk);
}

// Each message of a stream may have its own.
for await (const { picture } of photos.makeThumbnails({ count: 2 })) {
  console.log(`thumbnail: ${picture?.size} bytes`);
}

// Uploads of clients that crashed before their calls were accepted, when a day old.
console.log(`swept: ${await createOperator(connection, PhotoService).sweepPayloads()}`);

await worker.drain();
await connection.close();
await rm(folder, { recursive: true });

// Prints:
// negative.raw: 5000000 bytes
// saved: 5000000 bytes
// read: 255 254 253
// thumbnail: 1000 bytes
// thumbnail: 2000 bytes
// swept: 0
