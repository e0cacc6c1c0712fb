// A person who knows an invoice number finds its call, sees why it failed, corrects the request
// and replays it. Then all that failed for the same reason is replayed at once.
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

let isDiskFull = false;
const worker = await serve(
  PhotoService,
  {
    resize({ photo, width }) {
      if (isDiskFull) {
        throw new ConnectError("the disk is full", Code.FailedPrecondition);
      }
      if (width < 1) {
        throw new ConnectError("width must be 1 or more", Code.InvalidArgument);
      }
      return { file: `${width}-${photo}` };
    },
  },
  { logger: false },
);

const wrong = await photos.resize.submit({ photo: "sea.jpg", width: 0 }, { callId: "invoice-42" });
await wrong.result().catch(() => undefined);

const operator = createOperator(connection, PhotoService);

/** Waits for dead letters: a worker stores one after the end that the caller hears. */
async function failed(count: number): Promise<void> {
  for (let found = -1; found < count; ) {
    found = (await operator.listCalls({ states: ["failed"] })).calls.length;
  }
}
await failed(1);

const { calls } = await operator.listCalls({ callId: "invoice-42" });
for (const { method, state, error } of calls) {
  console.log(`${method} is ${state}: ${error?.rawMessage}`);
}
// By what it is about: its request, its result, its error or its id.
const about = await operator.listCalls({ contains: "SEA.jpg" });
console.log(`about the sea: ${about.calls.map(({ callId }) => callId)}`);

const story = await operator.showCall({ method: "Resize", callId: "invoice-42" });
console.log("its request:", (await story.toJson())["request"]);
const problems = await story.deadLetter?.check({ photo: "sea.jpg", width: "wide" });
console.log(
  "refused:",
  problems?.map(({ path }) => path),
);
await story.deadLetter?.replay({ request: { photo: "sea.jpg", width: 800 } });
console.log("replayed:", (await photos.resize.attach("invoice-42").result()).file);

isDiskFull = true;
const names = ["hill.jpg", "lake.jpg", "wood.jpg"];
const submitted = await Promise.all(
  names.map((photo) => photos.resize.submit({ photo, width: 400 }, { callId: photo.slice(0, 4) })),
);
await Promise.allSettled(submitted.map((call) => call.result()));
await failed(3);
isDiskFull = false;
const filter = { method: "Resize" };
const { matched } = await operator.actOnCalls("replay", filter, { dryRun: true });
const { done } = await operator.actOnCalls("replay", filter);
console.log(`${matched} can be replayed, ${done} were`);
await Promise.all(submitted.map((call) => photos.resize.attach(call.id).result()));

const [counts] = (await operator.countCalls()).filter(({ method }) => method === "Resize");
console.log(`succeeded: ${counts?.recent.succeeded}, failed: ${counts?.failed}`);

await worker.drain();
await connection.close();

// Prints:
// Resize is failed: width must be 1 or more
// about the sea: invoice-42
// its request: { photo: 'sea.jpg' }
// refused: [ 'width' ]
// replayed: 800-sea.jpg
// 3 can be replayed, 3 were
// succeeded: 4, failed: 0
