// On SIGTERM, or by drain(), a worker takes nothing new and ends what runs. What takes longer
// than drainTimeoutMs is given to another worker, and does not count for max_attempts.
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const handler = new EventTarget();
const old = await serve(
  PhotoService,
  {
    async resize({ photo }, { signal }) {
      console.log(`old worker: ${photo}`);
      handler.dispatchEvent(new Event(photo));
      await delay(photo === "short.jpg" ? 200 : 60_000, undefined, { signal });
      return { file: `${photo} by the old worker` };
    },
  },
  { drainTimeoutMs: 3_000 },
);

const begun = [once(handler, "short.jpg"), once(handler, "long.jpg")];
const short = await photos.resize.submit({ photo: "short.jpg", width: 800 });
await begun[0];
const long = await photos.resize.submit({ photo: "long.jpg", width: 800 });
await begun[1];

// A deployment ends the process of the old worker by SIGTERM: serve() drains it then.
const stopped = old.drain();
const next = await serve(PhotoService, {
  resize({ photo }, { attempt }) {
    console.log(`next worker: ${photo}, attempt ${attempt}`);
    return { file: `${photo} by the next worker` };
  },
});
console.log(`result: ${(await short.result()).file}`);
console.log(`result: ${(await long.result()).file}`);
await stopped;

await next.drain();
await connection.close();

// Prints:
// old worker: short.jpg
// old worker: long.jpg
// result: short.jpg by the old worker
// next worker: long.jpg, attempt 2
// result: long.jpg by the next worker
