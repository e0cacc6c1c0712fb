// Each message of a durable stream is stored. Any number of readers get every message once
// and in order, and a reader that comes back goes on after those that it has.
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(PhotoService, {
  async *makeThumbnails({ album, count }) {
    for (let number = 1; number <= count; number++) {
      yield { file: `${album}-${number}.webp` };
    }
  },
});

for await (const { file } of photos.makeThumbnails({ album: "alps", count: 2 })) {
  console.log(`made: ${file}`);
}

const call = await photos.makeThumbnails.submit({ album: "coast", count: 5 });
let have = 0;
for await (const { file } of call) {
  console.log(`read: ${file}`);
  have++;
  if (have === 3) {
    // The reader leaves; the call goes on.
    break;
  }
}
for await (const { file } of photos.makeThumbnails.attach(call.id).messages({ from: have })) {
  console.log(`read later: ${file}`);
}

await worker.drain();
await connection.close();

// Prints:
// made: alps-1.webp
// made: alps-2.webp
// read: coast-1.webp
// read: coast-2.webp
// read: coast-3.webp
// read later: coast-4.webp
// read later: coast-5.webp
