// The gateway serves over HTTP what workers serve over NATS: to curl, to Connect and gRPC in any
// language, to pages. It has no schema: the workers tell.
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { startGateway } from "@jetrpc/gateway";
import { blobOf, openBlob } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";
import { PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const worker = await serve(PhotoService, {
  getInfo: ({ photo }) => ({ width: photo === "sea.jpg" ? 4000 : 800 }),
  resize: ({ photo, width }) => ({ file: `${width}-${photo}` }),
  convert: ({ photo }) => ({
    photo: blobOf(() => openBlob(photo), { fileName: "negative.raw" }),
  }),
});
const gateway = await startGateway({ port: 0, log: console.log });

// curl --json '{"photo": "sea.jpg"}' http://127.0.0.1:8080/photo.v1.PhotoService/GetInfo
const response = await fetch(`${gateway.url}/photo.v1.PhotoService/GetInfo`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ photo: "sea.jpg" }),
});
console.log(await response.text());

// A page does the same by @connectrpc/connect-web.
const transport = createConnectTransport({ baseUrl: gateway.url, httpVersion: "2" });
const photos = createClient(PhotoService, transport);
// A durable method: stored in NATS, and waited for.
console.log((await photos.resize({ photo: "sea.jpg", width: 800 })).file);

// A file: its bytes are uploaded for a call id, and then the call is submitted with that.
// curl -T sea.raw http://127.0.0.1:8080/blobs/photo.v1.PhotoService/Convert/sea/0
const upload = await fetch(`${gateway.url}/blobs/photo.v1.PhotoService/Convert/sea/0`, {
  method: "PUT",
  body: new Uint8Array(1_000_000),
});
const converted = await fetch(`${gateway.url}/photo.v1.PhotoService/Convert`, {
  method: "POST",
  headers: { "Content-Type": "application/json", "Idempotency-Key": "sea" },
  body: JSON.stringify({ photo: await upload.json() }),
});
const { object, ...fields } = ((await converted.json()) as { photo: Record<string, string> }).photo;
const link = `/blobs/photo.v1.PhotoService/${object}?${new URLSearchParams(fields)}`;
const download = await fetch(gateway.url + link);
console.log(download.headers.get("content-disposition"));
console.log(`${(await download.arrayBuffer()).byteLength} bytes`);

await gateway.drain();
await worker.drain();

// Prints:
// no authenticate: it listens on loopback only, and all on this machine may call
// {"width":4000}
// 800-sea.jpg
// attachment; filename="negative.raw"; filename*=UTF-8''negative.raw
// 1000000 bytes
