// submit() returns as soon as the call is stored. The app may end then: any process that
// knows the call's id gets the result by attach(), for as long as the log is kept (7 days).
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

/** An app that submits a call, and leaves. */
async function submit(): Promise<string> {
  const connection = await connect();
  const photos = createPhotoClient(connection);
  const call = await photos.resize.submit({ photo: "sea.jpg", width: 800 });
  console.log("submitted");
  await connection.close();
  return call.id;
}

/** Another app, on another day. */
async function fetchResult(callId: string): Promise<void> {
  const connection = await connect();
  const photos = createPhotoClient(connection);
  const { file } = await photos.resize.attach(callId).result();
  console.log(`fetched: ${file}`);
  await connection.close();
}

await using _server = await startServer();
const callId = await submit();

const worker = await serve(PhotoService, {
  resize: ({ photo, width }) => ({ file: `${width}-${photo}` }),
});
await fetchResult(callId);
await fetchResult(callId);
await worker.drain();

// Prints:
// submitted
// fetched: 800-sea.jpg
// fetched: 800-sea.jpg
