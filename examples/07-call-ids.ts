// A call id of your own makes submit() idempotent: a client that does not know whether a call
// was accepted submits it again. The same id with another request is refused.
import { randomUUID } from "node:crypto";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(PhotoService, {
  resize({ photo, width }) {
    console.log("the handler runs");
    return { file: `${width}-${photo}` };
  },
});

// In an app: the id of an order, of an upload, of what triggered the call.
const callId = `order-${randomUUID()}`;
for (const time of ["first", "second", "third"]) {
  const call = await photos.resize.submit({ photo: "sea.jpg", width: 800 }, { callId });
  const { file } = await call.result();
  console.log(`${time} time: ${file}`);
}

await photos.resize.submit({ photo: "sea.jpg", width: 900 }, { callId }).catch((error) => {
  console.log(error.message);
});

await worker.drain();
await connection.close();

// Prints:
// the handler runs
// first time: 800-sea.jpg
// second time: 800-sea.jpg
// third time: 800-sea.jpg
// [already_exists] rpc photo.v1.PhotoService.Resize: call "order-…" exists with another request: use another call id, or attach to it
