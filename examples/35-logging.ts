// A worker tells its logger, in fields, of attempts that fail, and of what else an operator
// may want to know. Without a logger, serve() writes warnings and errors to stderr.
import { Code, ConnectError, type LogRecord } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

/** In an app: that of pino, winston or the like. */
function log({ level, message, method, attempt, error }: LogRecord): void {
  if (level === "warn" || level === "error") {
    const { name, message: text } = error as Error;
    console.log(`${level}: ${message} (${method}, attempt ${attempt}): ${name}: ${text}`);
  }
}

const worker = await serve(
  PhotoService,
  {
    resize({ photo, width }, { attempt }) {
      if (attempt === 1) {
        throw new TypeError("no such font");
      }
      if (attempt === 2) {
        throw new ConnectError("the disk is busy", Code.Unavailable);
      }
      return { file: `${width}-${photo}` };
    },
  },
  { logger: log },
);

console.log((await photos.resize({ photo: "sea.jpg", width: 800 })).file);

await worker.drain();
await connection.close();

// Prints:
// warn: an attempt failed and will be repeated (rpc photo.v1.PhotoService.Resize, attempt 1): TypeError: no such font
// warn: an attempt failed and will be repeated (rpc photo.v1.PhotoService.Resize, attempt 2): ConnectError: [unavailable] the disk is busy
// 800-sea.jpg
