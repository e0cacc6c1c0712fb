// cancel() ends a call from any process that knows its id. A queued call never runs; the
// handler of a running one sees its signal fire.
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const handler = new EventTarget();
const worker = await serve(
  PhotoService,
  {
    async resize({ photo }, { signal }) {
      console.log(`${photo}: begun`);
      handler.dispatchEvent(new Event("begun"));
      // Give the signal to all that takes time: it is the only way to stop it.
      await delay(60_000, undefined, { signal }).catch(() => {
        console.log(`${photo}: stopped, ${signal.reason.message}`);
      });
      handler.dispatchEvent(new Event("stopped"));
      return {};
    },
  },
  { concurrency: 1 },
);

const begun = once(handler, "begun");
const stopped = once(handler, "stopped");
const running = await photos.resize.submit({ photo: "sea.jpg", width: 800 });
await begun;
const queued = await photos.resize.submit({ photo: "hill.jpg", width: 800 });

console.log(`cancel the queued one: ${await queued.cancel()}`);
console.log(`cancel the running one: ${await photos.resize.attach(running.id).cancel()}`);
await stopped;
console.log(`cancel it again: ${await running.cancel()}`);
await running.result().catch((error) => console.log(`result: ${error.message}`));
console.log(`states: ${(await running.status()).state}, ${(await queued.status()).state}`);

await worker.drain();
await connection.close();

// Prints:
// sea.jpg: begun
// cancel the queued one: true
// cancel the running one: true
// sea.jpg: stopped, [canceled] the call was canceled
// cancel it again: false
// result: [canceled] the call was canceled
// states: cancelled, cancelled
