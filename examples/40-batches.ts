// batched() makes of a function over many items a handler for one: calls that run at the same
// time share a run of it, as a model on a GPU wants it.
import { batched } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const resizeAll = batched(
  async (names: string[]) => {
    console.log(`a run over ${names.length} photos`);
    // A result for each item, in their order; an Error among them is thrown to its call alone.
    return names.map((name) => `small-${name}`);
  },
  // By default nothing waits: here each batch waits for its fourth photo.
  { maxSize: 4, maxWaitMs: 60_000 },
);

const worker = await serve(
  PhotoService,
  { resize: async ({ photo }, context) => ({ file: await resizeAll(photo, context) }) },
  // No more calls than run at once can be in a batch.
  { concurrency: 4 },
);

const names = Array.from({ length: 8 }, (_, index) => `${index}.jpg`);
const results = await Promise.all(names.map((photo) => photos.resize({ photo, width: 100 })));
console.log(`results: ${results.map(({ file }) => file).join(" ")}`);

await worker.drain();
await connection.close();

// Prints:
// a run over 4 photos
// a run over 4 photos
// results: small-0.jpg small-1.jpg small-2.jpg small-3.jpg small-4.jpg small-5.jpg small-6.jpg small-7.jpg
