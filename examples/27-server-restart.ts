// A client and a worker live through a crash of the server: they connect again and go on.
// Accepted calls are on the server's disk. It starts a server of its own, to kill it.
import { once } from "node:events";
import { Code, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";

await using server = await startNats();
const connection = await connect({ nats: { servers: server.url } });
const photos = createPhotoClient(connection);

// serve() without its signals and its log, on a connection that exists.
const workers = await connect({ nats: { servers: server.url } });
const handler = new EventTarget();
const worker = await startWorker(
  PhotoService,
  {
    getInfo: () => ({ width: 4000 }),
    async *makeThumbnails({ album, count }) {
      for (let number = 1; number <= count; number++) {
        yield { file: `${album}-${number}.webp` };
        if (number === 2) {
          handler.dispatchEvent(new Event("half"));
          await once(handler, "goOn");
        }
      }
    },
  },
  workers,
);

const half = once(handler, "half");
const call = await photos.makeThumbnails.submit({ album: "alps", count: 4 });
await half;
await server.kill();
console.log("the server is killed");
await photos.getInfo({}).catch((error) => console.log(`a direct call: ${Code[error.code]}`));

handler.dispatchEvent(new Event("goOn"));
await server.restart();
console.log("the server runs again");
for await (const { file } of call) {
  console.log(file);
}

await worker.drain();
await Promise.all([connection.close(), workers.close()]);

// Prints:
// the server is killed
// a direct call: Unavailable
// the server runs again
// alps-1.webp
// alps-2.webp
// alps-3.webp
// alps-4.webp
