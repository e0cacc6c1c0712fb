// Operators see how much waits and runs, and pause a method: its calls are accepted, and
// wait. The command does the same: npx jetrpc queues, pause, resume.
import { connect, serve } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { createPrintClient, PrintService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const connection = await connect();
const prints = createPrintClient(connection);
const operator = createOperator(connection, PrintService);

const worker = await serve(PrintService, { print: () => ({ tray: "left" }) });

// Without a time, until resume().
await operator.pause("Print", new Date("2100-01-01"));
const calls = [
  await prints.print.submit({ photo: "sea.jpg" }),
  await prints.print.submit({ photo: "hill.jpg" }),
];
for (const { method, queued, running, workers, pausedUntil } of await operator.queues()) {
  const paused = pausedUntil ? `, paused until ${pausedUntil.toISOString()}` : "";
  console.log(`${method}: ${queued} wait, ${running} run, ${workers} workers${paused}`);
}

await operator.resume("Print");
for (const call of calls) {
  console.log(`resumed, printed to the ${(await call.result()).tray} tray`);
}

// Ends calls that wait for a method that the schema does not have any more.
console.log(`buried: ${await operator.buryStrays()}`);

await worker.drain();
await connection.close();

// Prints:
// Print: 2 wait, 0 run, 1 workers, paused until 2100-01-01T00:00:00.000Z
// resumed, printed to the left tray
// resumed, printed to the left tray
// buried: 0
