// submitAll() submits what an iterable gives, some hundred at once, and tells of each in its
// order: the call, or why it was not accepted. One that is refused stops none of the others.
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(
  PhotoService,
  { resize: ({ photo, width }) => ({ file: `${width}-${photo}` }) },
  { concurrency: 100 },
);

/** Any iterable will do: it is read only as fast as the server accepts. */
function* readAlbum() {
  for (let number = 0; number < 500; number++) {
    yield { photo: `${number}.jpg`, width: 800 };
  }
}

const album = `album-${Date.now()}`;
const files: string[] = [];
const submissions = photos.resize.submitAll(readAlbum(), (_request, index) => ({
  // Spaces are not allowed in ids.
  callId: index === 7 ? "no id" : `${album}-${index}`,
}));
for await (const { call, error } of submissions) {
  if (call) {
    files.push((await call.result()).file);
  } else {
    console.log(`refused: ${error.message}`);
  }
}
console.log(`resized: ${files.length}, from ${files.at(0)} to ${files.at(-1)}`);

await worker.drain();
await connection.close();

// Prints:
// refused: [invalid_argument] call id "no id" must be 1 to 128 letters, digits or any of _ = + @ : -, without " "
// resized: 499, from 800-0.jpg to 800-499.jpg
