// An owner (a tenant, a team, a user) has durable calls of its own: the same call id is
// another call for each. 30-permissions.ts has the server see to it that nobody cheats.
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const worker = await serve(PhotoService, {
  resize: ({ photo, width }) => ({ file: `${width}-${photo}` }),
});

// Or by the environment: JETRPC_OWNER=acme.
const acme = await connect({ owner: "acme" });
const globex = await connect({ owner: "globex" });
const callId = `order-${Date.now()}`;

const request = { photo: "sea.jpg", width: 800 };
const call = await createPhotoClient(acme).resize.submit(request, { callId });
console.log(`${acme.owner}: ${(await call.result()).file}`);

await createPhotoClient(globex)
  .resize.attach(callId)
  .result()
  .catch((error) => console.log(`${globex.owner}: ${error.message}`));

const other = { photo: "hill.jpg", width: 400 };
const another = await createPhotoClient(globex).resize.submit(other, { callId });
console.log(`${globex.owner}: ${(await another.result()).file}`);

await worker.drain();
await Promise.all([acme.close(), globex.close()]);

// Prints:
// acme: 800-sea.jpg
// globex: [not_found] rpc photo.v1.PhotoService.Resize: no call "order-…" of owner "globex" is known: it was never accepted, or its result is older than its retention
// globex: 400-hill.jpg
