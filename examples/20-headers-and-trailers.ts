// Metadata travels beside requests and responses, as in Connect. That of a durable call is
// stored with it: each attempt sees the same.
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(PhotoService, {
  getInfo(_request, { requestHeader, responseHeader, responseTrailer }) {
    console.log(`the handler sees: ${requestHeader.get("accept-language")}`);
    responseHeader.set("content-language", "de");
    responseTrailer.set("x-cache", "hit");
    return { width: 4000 };
  },
  resize({ photo }, { requestHeader }) {
    return { file: `${requestHeader.get("x-tenant")}/${photo}` };
  },
});

const { width } = await photos.getInfo(
  { photo: "sea.jpg" },
  {
    headers: { "accept-language": "de" },
    onHeader: (header) => console.log(`header: ${header.get("content-language")}`),
    onTrailer: (trailer) => console.log(`trailer: ${trailer.get("x-cache")}`),
  },
);
console.log(`width: ${width}`);

const headers = { "x-tenant": "acme" };
const call = await photos.resize.submit({ photo: "sea.jpg", width: 800 }, { headers });
console.log(`file: ${(await call.result()).file}`);

await worker.drain();
await connection.close();

// Prints:
// the handler sees: de
// header: de
// trailer: hit
// width: 4000
// file: acme/sea.jpg
