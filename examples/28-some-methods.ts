// A worker may implement some methods only: those with a GPU on machines that have one, say.
// `answerUnimplemented` is for the worker that is the whole service.
import { Code } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import {
  createPhotoClient,
  PhotoService,
  type PhotoWorker,
} from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

/** A class will do as well: its methods are called with `this`. */
class Archive implements Pick<PhotoWorker, "getInfo"> {
  private readonly widths = new Map([["sea.jpg", 4000]]);

  getInfo: PhotoWorker["getInfo"] = ({ photo }) => ({ width: this.widths.get(photo) ?? 0 });
}

const gpu = {
  resize: ({ photo, width }) => ({ file: `${width}-${photo}` }),
} satisfies Partial<PhotoWorker>;

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const archive = await serve(PhotoService, new Archive());
const resizer = await serve(PhotoService, gpu);
const { width } = await photos.getInfo({ photo: "sea.jpg" });
const { file } = await photos.resize({ photo: "sea.jpg", width: width / 2 });
console.log(file);

async function* ratings() {
  yield { stars: 5 };
}
await photos.rate(ratings()).catch((error) => console.log(`rate: ${Code[error.code]}`));
await Promise.all([archive.drain(), resizer.drain()]);

const whole = await serve(PhotoService, new Archive(), { answerUnimplemented: true });
await photos.rate(ratings()).catch((error) => console.log(`rate: ${Code[error.code]}`));

await whole.drain();
await connection.close();

// Prints:
// 2000-sea.jpg
// rate: Unavailable
// rate: Unimplemented
