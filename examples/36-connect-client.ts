// A connection has a Connect transport: Connect's own client and all that is made for it
// work with it, for direct and for durable methods.
import { type Client, createClient } from "@connectrpc/connect";
import { connect, serve } from "@jetrpc/runtime/node";
import { PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

/** Knows Connect alone: in another app it gets a transport over HTTP. */
async function halve(photos: Client<typeof PhotoService>, photo: string): Promise<string> {
  const { width } = await photos.getInfo({ photo });
  const { file } = await photos.resize({ photo, width: width / 2 });
  return file;
}

await using _server = await startServer();
const worker = await serve(PhotoService, {
  getInfo: () => ({ width: 4000 }),
  resize: ({ photo, width }) => ({ file: `${width}-${photo}` }),
});

const connection = await connect();
console.log(await halve(createClient(PhotoService, connection.transport), "sea.jpg"));

await worker.drain();
await connection.close();

// Prints:
// 2000-sea.jpg
