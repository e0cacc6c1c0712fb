// A web app calls by a gateway, with the generated client that programs on NATS use. Here Node
// stands for the browser: it has fetch, too.
import { startGateway } from "@jetrpc/gateway";
import { serve } from "@jetrpc/runtime/node";
import { connectGateway } from "@jetrpc/web";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const worker = await serve(PhotoService, {
  getInfo: () => ({ width: 4000, height: 3000 }),
  async *makeThumbnails({ album, count }, context) {
    for (let number = 1; number <= count; number++) {
      yield { file: `${album}-${number}.webp` };
      context.progress({ done: number, total: count });
    }
  },
});
let gateway = await startGateway({ port: 0 });
const port = Number(new URL(gateway.url).port);

// All of this runs in a browser. A page of the gateway's own origin leaves the address out.
const connection = connectGateway(gateway.url);
const photos = createPhotoClient(connection);
const { width, height } = await photos.getInfo({ photo: "sea.jpg" });
console.log(`sea.jpg: ${width} x ${height}`);
const call = await photos.makeThumbnails.submit({ album: "alps", count: 3 });
for await (const { file } of call) {
  console.log(file);
  if (file === "alps-1.webp") {
    // The messages go on where they were.
    await gateway.drain();
    gateway = await startGateway({ port });
  }
}
// After a reload of the page.
console.log((await photos.makeThumbnails.attach(call.id).status()).state);
await connection.close();

await gateway.drain();
await worker.drain();

// Prints:
// sea.jpg: 4000 x 3000
// alps-1.webp
// alps-2.webp
// alps-3.webp
// succeeded
