// notBefore: the server keeps a call until its time has come. No process has to live until
// then, and the call can be canceled meanwhile.
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(PhotoService, {
  resize({ photo, width }) {
    const isTime = Date.now() >= notBefore.getTime();
    console.log(`${photo}: runs ${isTime ? "when its time has come" : "too early"}`);
    return { file: `${width}-${photo}` };
  },
});

const notBefore = new Date(Date.now() + 2_000);
const tomorrow = new Date(Date.now() + 24 * 3_600_000);
const sea = await photos.resize.submit({ photo: "sea.jpg", width: 800 }, { notBefore });
const hill = await photos.resize.submit({ photo: "hill.jpg", width: 800 }, { notBefore: tomorrow });
console.log(`state: ${(await sea.status()).state}`);
console.log(`canceled in time: ${await hill.cancel()}`);

console.log(`result: ${(await sea.result()).file}`);

await worker.drain();
await connection.close();

// Prints:
// state: scheduled
// canceled in time: true
// sea.jpg: runs when its time has come
// result: 800-sea.jpg
