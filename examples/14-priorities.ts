// With the option `priorities` of a method a caller may name one. Of ten calls that a worker
// takes, seven are of high priority, two of normal and one of low: none waits for ever.
import { connect, serve } from "@jetrpc/runtime/node";
import { createPrintClient, PrintService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const prints = createPrintClient(connection);

const calls = [
  await prints.print.submit({ photo: "catalogue.jpg" }, { priority: "low" }),
  await prints.print.submit({ photo: "holiday.jpg" }),
  await prints.print.submit({ photo: "passport.jpg" }, { priority: "high" }),
];
console.log("submitted: catalogue, holiday, passport");

const worker = await serve(
  PrintService,
  {
    print({ photo }) {
      console.log(`printed: ${photo}`);
      return { tray: "left" };
    },
  },
  { concurrency: 1 },
);
await Promise.all(calls.map((call) => call.result()));

await worker.drain();
await connection.close();

// Prints:
// submitted: catalogue, holiday, passport
// printed: passport.jpg
// printed: holiday.jpg
// printed: catalogue.jpg
