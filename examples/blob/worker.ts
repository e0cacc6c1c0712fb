import { createHash } from "node:crypto";
import { type Blob, blobOf, openBlob, startWorker, type Worker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { VideoService, type VideoWorker } from "@jetrpc-examples/video-v1-client";

/** Turns each byte around, as it comes: the film is never in memory whole. */
async function* convert(film: Blob): AsyncGenerator<Uint8Array> {
  for await (const chunk of openBlob(film)) {
    yield chunk.map((byte) => byte ^ 0xff);
  }
}

const worker: VideoWorker = {
  convert: ({ film }, context) => {
    if (!film) {
      return {};
    }
    context.progress({ done: 0, total: Number(film.size) });
    // Read while it is stored: each attempt reads the film anew.
    return { film: blobOf(convert(film), { fileName: `converted ${film.fileName}` }) };
  },
  async *split({ film, partBytes }) {
    for await (const chunk of film ? openBlob(film) : []) {
      for (let at = 0; at < chunk.length; at += partBytes) {
        const part = chunk.subarray(at, at + partBytes);
        const hash = createHash("sha256").update(part).digest("hex");
        yield { part: blobOf(part, { fileName: `${hash.slice(0, 8)}.part` }) };
      }
    }
  },
};

/** Serves films on a connection of its own. */
export async function startVideoWorker(url: string): Promise<Worker> {
  const connection = await connect({ nats: { servers: url } });
  const running = await startWorker(VideoService, worker, connection);
  void running.closed.then(() => connection.close());
  return running;
}
