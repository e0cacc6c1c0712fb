// `max_queue_length` of a service, here 3, limits the calls that are not finished. Further
// ones are refused at once, so that callers know of it before the queue is hopeless.
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPrintClient, PrintService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const prints = createPrintClient(connection);

/** Submits, and tries again while the queue is full. */
async function submit(photo: string, onFull: () => void) {
  for (;;) {
    try {
      const call = await prints.print.submit({ photo });
      console.log(`accepted: ${photo}`);
      return call;
    } catch (error) {
      if (ConnectError.from(error).code !== Code.ResourceExhausted) {
        throw error;
      }
      onFull();
      await delay(100);
    }
  }
}

let tellFull: () => void = () => undefined;
const full = new Promise<void>((resolve) => {
  tellFull = resolve;
});
for (const photo of ["1.jpg", "2.jpg", "3.jpg"]) {
  await submit(photo, tellFull);
}
const fourth = submit("4.jpg", tellFull);
await full;
console.log("refused for now: 4.jpg");

const worker = await serve(PrintService, { print: () => ({ tray: "left" }) });
await (await fourth).result();

await worker.drain();
await connection.close();

// Prints:
// accepted: 1.jpg
// accepted: 2.jpg
// accepted: 3.jpg
// refused for now: 4.jpg
// accepted: 4.jpg
