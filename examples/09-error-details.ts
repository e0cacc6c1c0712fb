// Errors are Connect's: a code, a text, metadata, and messages as details, which reach the
// caller as they are. Of any other error the caller is told nothing but "internal error".
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService, TooWideSchema } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(
  PhotoService,
  {
    resize({ width }) {
      const tooWide = { desc: TooWideSchema, value: { maxWidth: 4000 } };
      const metadata = { "x-photo": "sea.jpg" };
      throw new ConnectError(`${width} is too wide`, Code.OutOfRange, metadata, [tooWide]);
    },
    getInfo() {
      throw new Error("cannot log in to the archive as root, password 1234");
    },
  },
  // The worker's log has the whole error; 35-logging.ts shows it.
  { logger: false },
);

try {
  await photos.resize({ photo: "sea.jpg", width: 5000 });
} catch (thrown) {
  const error = ConnectError.from(thrown);
  console.log(`${Code[error.code]}: ${error.rawMessage}`);
  console.log(`detail: at most ${error.findDetails(TooWideSchema)[0]?.maxWidth}`);
  console.log(`metadata: ${error.metadata.get("x-photo")}`);
}

await photos.getInfo({ photo: "sea.jpg" }).catch((error) => console.log(error.message));

await worker.drain();
await connection.close();

// Prints:
// OutOfRange: 5000 is too wide
// detail: at most 4000
// metadata: sea.jpg
// [internal] internal error
