// The server repeats durable calls, and nobody repeats direct ones: createRetryInterceptor()
// does, where it does no harm. mayHaveRun() tells whether a call that failed may have run.
import { createRetryInterceptor, mayHaveRun } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
await createPhotoClient(connection)
  .getInfo({ photo: "sea.jpg" })
  .catch((error) => console.log(`${error.message}; may have run: ${mayHaveRun(error)}`));

const patient = await connect({
  interceptors: [createRetryInterceptor({ maxAttempts: 10, backoffMs: 50 })],
});
const calling = createPhotoClient(patient).getInfo({ photo: "sea.jpg" });

// The worker comes while the call is repeated.
const worker = await serve(PhotoService, { getInfo: () => ({ width: 4000 }) });
console.log(`width: ${(await calling).width}`);

await worker.drain();
await Promise.all([connection.close(), patient.close()]);

// Prints:
// [unavailable] no worker serves photo.v1.PhotoService.GetInfo: start one that implements it; may have run: false
// width: 4000
