// Direct calls stream in either direction, and in both. A fast sender waits for a slow
// reader, and leaving a loop ends the stream on the other side.
import { once } from "node:events";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const views = new EventTarget();
const worker = await serve(PhotoService, {
  async *watchViews() {
    try {
      for (let views = 1; ; views++) {
        yield { views };
      }
    } finally {
      console.log("nobody watches any more");
      views.dispatchEvent(new Event("left"));
    }
  },
  async rate(requests) {
    const stars: number[] = [];
    for await (const request of requests) {
      stars.push(request.stars);
    }
    return { mean: stars.reduce((sum, each) => sum + each, 0) / stars.length };
  },
  async *caption(requests) {
    for await (const { photo } of requests) {
      yield { caption: `a picture of the ${photo.replace(".jpg", "")}` };
    }
  },
});

// The worker streams.
const left = once(views, "left");
for await (const { views } of photos.watchViews({ photo: "sea.jpg" })) {
  console.log(`views: ${views}`);
  if (views === 3) {
    break;
  }
}
await left;

// The client streams.
async function* ratings() {
  yield { stars: 3 };
  yield { stars: 5 };
}
console.log(`mean: ${(await photos.rate(ratings())).mean}`);

// Both do.
async function* album() {
  yield { photo: "sea.jpg" };
  yield { photo: "hill.jpg" };
}
for await (const { caption } of photos.caption(album())) {
  console.log(caption);
}

await worker.drain();
await connection.close();

// Prints:
// views: 1
// views: 2
// views: 3
// nobody watches any more
// mean: 4
// a picture of the sea
// a picture of the hill
