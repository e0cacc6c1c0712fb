// An attempt that fails is repeated with back-off, where another one may help. A handler
// that knows better says so: by permanent(), or by retryAfter() and a time.
import { Code, ConnectError, permanent, retryAfter } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(
  PhotoService,
  {
    resize({ photo, width }, { attempt }) {
      if (photo === "flaky.jpg" && attempt < 3) {
        throw new Error("a disk that comes and goes");
      }
      if (photo === "busy.jpg" && attempt === 1) {
        const error = new ConnectError("come back later", Code.ResourceExhausted);
        throw retryAfter(error, 500);
      }
      if (photo === "broken.jpg") {
        // Internal is repeated, unless it is permanent.
        throw permanent(new ConnectError("the file is cut off", Code.Internal));
      }
      return { file: `${width}-${photo}` };
    },
  },
  { logger: false },
);

for (const photo of ["flaky.jpg", "busy.jpg", "broken.jpg"]) {
  const call = await photos.resize.submit({ photo, width: 800 });
  const outcome = await call.result().then(
    ({ file }) => file,
    (error) => error.message,
  );
  const { attempts } = await call.status();
  console.log(`${photo}: ${outcome}, attempts: ${attempts.length}`);
  for (const { attempt, error, endedAt, retryAt } of attempts) {
    if (error && retryAt && endedAt) {
      const waitMs = retryAt.getTime() - endedAt.getTime();
      console.log(`  attempt ${attempt}: ${error.message}, then ${waitMs} ms`);
    }
  }
}

await worker.drain();
await connection.close();

// Prints:
// flaky.jpg: 800-flaky.jpg, attempts: 3
//   attempt 1: [internal] internal error, then … ms
//   attempt 2: [internal] internal error, then … ms
// busy.jpg: 800-busy.jpg, attempts: 2
//   attempt 1: [resource_exhausted] come back later, then 500 ms
// broken.jpg: [internal] the file is cut off, attempts: 1
