// A durable call waits for a worker as long as it takes. When there is none,
// onWaiting tells the caller that waits, and status() everybody who asks.
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();

let tell: (text: string) => void = () => undefined;
const told = new Promise<string>((resolve) => {
  tell = resolve;
});
const connection = await connect({ onWaiting: ({ message }) => tell(message) });
const photos = createPhotoClient(connection);

const call = await photos.resize.submit({ photo: "sea.jpg", width: 800 });
const { state, workers } = await call.status();
console.log(`${state}, workers: ${workers}`);

const waiting = call.result();
console.log(`after some seconds: ${await told}`);

const worker = await serve(PhotoService, {
  resize: ({ photo, width }) => ({ file: `${width}-${photo}` }),
});
console.log(`result: ${(await waiting).file}`);

await worker.drain();
await connection.close();

// Prints:
// queued, workers: 0
// after some seconds: no worker serves photo.v1.PhotoService.Resize: start one that implements it
// result: 800-sea.jpg
