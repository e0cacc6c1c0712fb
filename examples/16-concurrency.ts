// Workers share the calls of a method, each as many as it has free slots (`concurrency`).
// `max_concurrency` of a method limits what all workers together run at once.
import { setTimeout as delay } from "node:timers/promises";
import { connect, serve } from "@jetrpc/runtime/node";
import {
  createPhotoClient,
  PhotoService,
  type PhotoWorker,
} from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const running = { resize: 0, scan: 0 };
const most = { resize: 0, scan: 0 };

/** Notes how many calls of a method run at once. */
async function work(method: "resize" | "scan"): Promise<void> {
  running[method]++;
  most[method] = Math.max(most[method], running[method]);
  await delay(500);
  running[method]--;
}

const impl: Partial<PhotoWorker> = {
  async resize({ photo }) {
    await work("resize");
    return { file: photo };
  },
  async scan({ photo }) {
    await work("scan");
    return { file: photo };
  },
};
// Mostly processes on several machines. `directConcurrency` is the same for direct calls.
const first = await serve(PhotoService, impl, { concurrency: 3, directConcurrency: 100 });
const second = await serve(PhotoService, impl, { concurrency: 3 });

const album = Array.from({ length: 12 }, (_, index) => `${index}.jpg`);
await Promise.all(
  album.flatMap((photo) => [photos.resize({ photo, width: 800 }), photos.scan({ photo })]),
);
console.log(`resize: at most ${most.resize} at once`);
console.log(`scan: at most ${most.scan} at once`);

await Promise.all([first.drain(), second.drain()]);
await connection.close();

// Prints:
// resize: at most 6 at once
// scan: at most 2 at once
