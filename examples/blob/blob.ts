/**
 * Files in requests and responses: from disk to disk, as streams, as parts of a
 * streamed response, and what becomes of them. Run by `npm run example:blob`; it
 * starts a nats-server of its own.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blobOf, ConnectError, openBlob } from "@jetrpc/runtime";
import { connect, fileBlob, saveBlob } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { createVideoClient, VideoService } from "@jetrpc-examples/video-v1-client";
import { startVideoWorker } from "./worker.js";

await using nats = await startNats();
const folder = await mkdtemp(join(tmpdir(), "jetrpc-video-"));
const film = join(folder, "film.mp4");
const copy = join(folder, "copy.mp4");
await writeFile(film, new Uint8Array(3_000_000).fill(1));

const connection = await connect({ nats: { servers: nats.url } });
const video = createVideoClient(connection);

// Stored before submit() returns, though no worker is there. Whoever submits the same
// again after a crash goes on after what was stored.
const request = { film: fileBlob(film, { contentType: "video/mp4" }) };
const call = await video.convert.submit(request, { callId: "film" });
console.log("submitted");

const worker = await startVideoWorker(nats.url);
const { film: converted } = await call.result();
console.log(`${converted?.fileName}: ${converted?.size} bytes`);
await saveBlob(converted, copy);
console.log(`saved: ${(await readFile(copy)).every((byte) => byte === 0xfe)}`);

// Any stream will do.
async function* frames() {
  for (let frame = 0; frame < 3; frame++) {
    yield new Uint8Array(100).fill(frame);
  }
}
let sum = 0;
const live = await video.convert({ film: blobOf(frames()) });
for await (const chunk of live.film ? openBlob(live.film) : []) {
  sum += chunk.reduce((total, byte) => total + byte, 0);
}
console.log(`sum: ${sum}`);

// Each message of a stream may have its own.
for await (const { part } of video.split({ film: blobOf(new Uint8Array(250)), partBytes: 100 })) {
  console.log(`part ${part?.fileName}: ${part?.size} bytes`);
}

// The same id with other bytes is another request.
await video.convert
  .submit({ film: blobOf(new Uint8Array(1)) }, { callId: "film" })
  .catch((error) => {
    console.log(`error: ${ConnectError.from(error).message}`);
  });

// What clients left that crashed before their calls were accepted.
console.log(`swept: ${await createOperator(connection, VideoService).sweepPayloads()}`);

await worker.drain();
await connection.close();
await rm(folder, { recursive: true });
