// Messages above the server's max_payload (1 MB) go through JetStream's object store by
// themselves. readMaxBytes and writeMaxBytes limit what a client or a worker handles.
import { Code } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const worker = await serve(PhotoService, {
  resize: ({ pixels }) => ({ pixels: pixels.slice(0, pixels.length / 2) }),
});

const connection = await connect();
const photos = createPhotoClient(connection);
console.log(`max_payload: ${connection.nats.info?.max_payload} bytes`);
const pixels = new Uint8Array(4_000_000).fill(7);
const response = await photos.resize({ photo: "sea.jpg", width: 800, pixels });
console.log(`sent: ${pixels.length} bytes, received: ${response.pixels.length} bytes`);

const careful = await connect({ readMaxBytes: 1_000_000, writeMaxBytes: 5_000_000 });
const limited = createPhotoClient(careful);
await limited.resize({ photo: "sea.jpg", width: 800, pixels }).catch((error) => {
  console.log(`with a limit: ${Code[error.code]}`);
});

await worker.drain();
await Promise.all([connection.close(), careful.close()]);

// Prints:
// max_payload: 1048576 bytes
// sent: 4000000 bytes, received: 2000000 bytes
// with a limit: ResourceExhausted
