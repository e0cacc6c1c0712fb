// A call that failed for good leaves a dead letter: its request and its error. An operator
// lists them, and replays them when the cause is mended, or discards them.
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

let isMended = false;
const worker = await serve(
  PhotoService,
  {
    resize({ photo, width }) {
      if (!isMended) {
        throw new ConnectError(`cannot read ${photo}`, Code.DataLoss);
      }
      return { file: `${width}-${photo}` };
    },
  },
  { logger: false },
);

const sea = await photos.resize.submit({ photo: "sea.jpg", width: 800 });
const hill = await photos.resize.submit({ photo: "hill.jpg", width: 800 });
await Promise.allSettled([sea.result(), hill.result()]);

// The command does the same: npx jetrpc dead list, show, replay, discard.
const operator = createOperator(connection, PhotoService);
for (const { id } of [sea, hill]) {
  for await (const letter of operator.deadLetters({ callId: id })) {
    const { method, attempts, error } = letter;
    const { request } = await letter.toJson();
    console.log(`${method}, attempts: ${attempts}, ${error.message}:`, request);
  }
}

isMended = true;
for await (const letter of operator.deadLetters({ callId: sea.id })) {
  await letter.replay();
}
for await (const letter of operator.deadLetters({ callId: hill.id })) {
  await letter.discard();
}
console.log(`replayed: ${(await sea.result()).file}`);

await worker.drain();
await connection.close();

// Prints:
// Resize, attempts: 1, [data_loss] cannot read sea.jpg: { photo: 'sea.jpg', width: 800 }
// Resize, attempts: 1, [data_loss] cannot read hill.jpg: { photo: 'hill.jpg', width: 800 }
// replayed: 800-sea.jpg
