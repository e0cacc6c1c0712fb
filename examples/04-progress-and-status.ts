// A handler reports its progress, which everybody who knows the call can follow. status()
// tells how far a call is without reading its result.
import { setTimeout as delay } from "node:timers/promises";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const call = await photos.resize.submit({ photo: "sea.jpg", width: 800 });
console.log(`state: ${(await call.status()).state}`);

const worker = await serve(PhotoService, {
  async resize({ photo, width }, context) {
    // Cheap enough for every step: a report is sent at most four times a second.
    for (let done = 0; done <= 100; done++) {
      context.progress({ done, total: 100, message: done < 50 ? "reading" : "writing" });
      await delay(10);
    }
    return { file: `${width}-${photo}` };
  },
});

for await (const { done, total, message } of call.progress()) {
  console.log(`${done} of ${total}: ${message}`);
}
const { state, attempts, progress } = await call.status();
console.log(`state: ${state}, attempts: ${attempts.length}, progress: ${progress?.done}`);

await worker.drain();
await connection.close();

// Prints:
// state: queued
// …
// 100 of 100: writing
// state: succeeded, attempts: 1, progress: 100
