// A direct call is one NATS request and its reply. It is for reads: nothing is stored, and
// it fails at once when no worker is there.
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

await photos.getInfo({ photo: "sea.jpg" }).catch((error) => {
  console.log(`without a worker: ${Code[error.code]}`);
});

const worker = await serve(PhotoService, {
  getInfo({ photo }) {
    if (photo !== "sea.jpg") {
      throw new ConnectError(`there is no ${photo}`, Code.NotFound);
    }
    return { width: 4000, height: 3000 };
  },
});

const { width, height } = await photos.getInfo({ photo: "sea.jpg" });
console.log(`sea.jpg: ${width} x ${height}`);

await photos.getInfo({ photo: "hill.jpg" }).catch((error) => {
  console.log(`hill.jpg: ${error.message}`);
});

await worker.drain();
await connection.close();

// Prints:
// without a worker: Unavailable
// sea.jpg: 4000 x 3000
// hill.jpg: [not_found] there is no hill.jpg
