// A durable call is stored by the server before it is accepted. It waits for a worker, and
// is done whatever crashes. The caller waits for the result as for any other promise.
import { setTimeout as delay } from "node:timers/promises";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const calling = photos.resize({ photo: "sea.jpg", width: 800 });
console.log("called, though no worker runs");

const worker = await serve(PhotoService, {
  async resize({ photo, width }, context) {
    console.log(`attempt ${context.attempt}: ${photo} to ${width} pixels`);
    await delay(100);
    return { file: `${width}-${photo}` };
  },
});

const { file } = await calling;
console.log(`result: ${file}`);

await worker.drain();
await connection.close();

// Prints:
// called, though no worker runs
// attempt 1: sea.jpg to 800 pixels
// result: 800-sea.jpg
