// Messages that were stored before an attempt failed are kept. With `resume: RESUME_HANDLER`
// the next attempt is told how many there are, and makes only the rest.
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(
  PhotoService,
  {
    async *makeFilm({ frames }, { attempt, resumeFrom }) {
      console.log(`attempt ${attempt} begins with frame ${resumeFrom}`);
      for (let frame = resumeFrom; frame < frames; frame++) {
        if (attempt === 1 && frame === 3) {
          throw new ConnectError("out of memory", Code.ResourceExhausted);
        }
        yield { frame };
      }
    },
  },
  { logger: false },
);

const seen: number[] = [];
for await (const { frame } of photos.makeFilm({ frames: 6 })) {
  seen.push(frame);
}
console.log(`frames: ${seen.join(" ")}`);

await worker.drain();
await connection.close();

// Prints:
// attempt 1 begins with frame 0
// attempt 2 begins with frame 3
// frames: 0 1 2 3 4 5
