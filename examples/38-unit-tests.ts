// Tests without a server: the handlers of a worker by createTestTransport(), an app that uses
// a client by Connect's createRouterTransport(). For tests with one, see 27-server-restart.ts.
import assert from "node:assert/strict";
import { type Client, createClient, createRouterTransport } from "@connectrpc/connect";
import { Code, ConnectError } from "@jetrpc/runtime";
import { createTestTransport } from "@jetrpc/testing";
import { PhotoService, type PhotoWorker } from "@jetrpc-examples/photo-v1-client";

/** A worker of ours. */
const worker = {
  async *makeFilm({ frames }, context) {
    if (frames > 1_000) {
      throw new ConnectError("too many frames", Code.InvalidArgument);
    }
    for (let frame = context.resumeFrom; frame < frames; frame++) {
      yield { frame };
      context.progress({ done: frame + 1, total: frames });
    }
  },
} satisfies Partial<PhotoWorker>;

/** An app of ours. */
async function isPortrait(photos: Client<typeof PhotoService>, photo: string): Promise<boolean> {
  const { width, height } = await photos.getInfo({ photo });
  return height > width;
}

// In a file of tests, each of these is a test().
const transport = createTestTransport(PhotoService, worker, { attempt: 2, resumeFrom: 3 });
const films = createClient(PhotoService, transport);
const frames: number[] = [];
for await (const { frame } of films.makeFilm({ frames: 5 })) {
  frames.push(frame);
}
assert.deepEqual(frames, [3, 4]);
assert.equal(transport.progress.at(-1)?.done, 5);
console.log("ok: the worker goes on where it was");

const tooLong = films.makeFilm({ frames: 2_000 })[Symbol.asyncIterator]().next();
await assert.rejects(tooLong, { code: Code.InvalidArgument });
console.log("ok: the worker refuses too many frames");

const archive = createRouterTransport(({ service }) => {
  service(PhotoService, { getInfo: () => ({ width: 3000, height: 4000 }) });
});
assert.equal(await isPortrait(createClient(PhotoService, archive), "door.jpg"), true);
console.log("ok: the app knows a portrait");

// Prints:
// ok: the worker goes on where it was
// ok: the worker refuses too many frames
// ok: the app knows a portrait
