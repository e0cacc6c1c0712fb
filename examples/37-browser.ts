// A browser connects by a WebSocket, and uses the same clients. Here Node stands for it: 22 or
// newer, or 20 with --experimental-websocket. The command that starts such a server is
// `npx jetrpc server --websocket`.
import { createConnection } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { wsconnect } from "@nats-io/nats-core";

if (!("WebSocket" in globalThis)) {
  throw new Error("this Node has no WebSocket: start it with --experimental-websocket");
}
// In production it has TLS.
await using server = await startNats({ websocket: true });

const workers = await connect({ nats: { servers: server.url } });
const worker = await serve(
  PhotoService,
  {
    getInfo: () => ({ width: 4000, height: 3000 }),
    async *makeThumbnails({ album, count }) {
      for (let number = 1; number <= count; number++) {
        yield { file: `${album}-${number}.webp` };
      }
    },
  },
  { connection: workers },
);

// All of this runs in a browser: nothing is imported from @jetrpc/runtime/node.
const connection = createConnection(await wsconnect({ servers: server.websocketUrl ?? "" }));
const photos = createPhotoClient(connection);
const { width, height } = await photos.getInfo({ photo: "sea.jpg" });
console.log(`sea.jpg: ${width} x ${height}`);
const call = await photos.makeThumbnails.submit({ album: "alps", count: 2 });
for await (const { file } of call) {
  console.log(file);
}
await connection.close();

await worker.drain();
await workers.close();

// Prints:
// sea.jpg: 4000 x 3000
// alps-1.webp
// alps-2.webp
