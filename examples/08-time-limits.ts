// timeoutMs of a call is the time that the call has, and its handler knows it. timeoutMs of
// result() ends the wait only: the call goes on.
import { setTimeout as delay } from "node:timers/promises";
import { Code } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const photos = createPhotoClient(connection);

const worker = await serve(PhotoService, {
  async getInfo(_request, { signal, timeoutMs }) {
    console.log(`the handler has a limit: ${(timeoutMs() ?? Infinity) <= 2_000}`);
    await delay(60_000, undefined, { signal }).catch(() => undefined);
    return {};
  },
});

await photos.getInfo({}, { timeoutMs: 2_000 }).catch((error) => {
  console.log(`a direct call: ${Code[error.code]}`);
});

// No worker implements resize(): the first call is too old when one comes.
const short = await photos.resize.submit({ photo: "sea.jpg", width: 800 }, { timeoutMs: 2_000 });
const long = await photos.resize.submit({ photo: "hill.jpg", width: 800 });
await short.result().catch((error) => {
  console.log(`a durable call: ${Code[error.code]}`);
});
await long.result({ timeoutMs: 100 }).catch((error) => {
  console.log(`the wait for another one: ${Code[error.code]}`);
});
console.log(`states: ${(await short.status()).state}, ${(await long.status()).state}`);

const resizer = await serve(PhotoService, { resize: ({ photo }) => ({ file: photo }) });
console.log(`the other one in the end: ${(await long.result()).file}`);

await Promise.all([worker.drain(), resizer.drain()]);
await connection.close();

// Prints:
// the handler has a limit: true
// a direct call: DeadlineExceeded
// a durable call: DeadlineExceeded
// the wait for another one: DeadlineExceeded
// states: expired, queued
// the other one in the end: hill.jpg
