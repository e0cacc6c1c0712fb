// An administrator plans, looks at and makes what a service needs on the server: for workers
// whose credentials may not make streams. The command does the same: npx jetrpc apply.
import { connect } from "@jetrpc/runtime/node";
import { planService } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { PrintService } from "@jetrpc-examples/photo-v1-client";

await using server = await startNats();
const connection = await connect({ nats: { servers: server.url } });

const plan = await planService(connection, PrintService);
for (const { kind, what } of plan.changes) {
  console.log(`${kind} ${what}`);
}
await plan.apply();
console.log(`left: ${(await planService(connection, PrintService)).changes.length}`);

// Somebody changes a setting by hand.
const { config } = (await connection.nats.request("$JS.API.STREAM.INFO.PRINTS_LOG")).json<{
  config: object;
}>();
const changed = { ...config, description: "ours", max_age: 3_600_000_000_000 };
await connection.nats.request("$JS.API.STREAM.UPDATE.PRINTS_LOG", JSON.stringify(changed));

const mend = await planService(connection, PrintService);
for (const { kind, what, differences } of mend.changes) {
  console.log(`${kind} ${what}`, differences);
}
// A change that would lose something is made only with { allowDestructive: true }.
await mend.apply({ onApplied: ({ what }) => console.log(`applied: ${what}`) });

await connection.close();

// Prints:
// create stream PRINTS
// create stream PRINTS_LOG
// create stream PRINTS_PROGRESS
// create stream PRINTS_DEAD
// create stream PRINTS_LATER
// create stream OBJ_PRINTS_PAYLOAD
// create consumer Print-high of stream PRINTS
// create consumer Print of stream PRINTS
// create consumer Print-low of stream PRINTS
// create consumer Print of stream PRINTS_LATER
// left: 0
// change stream PRINTS_LOG [ { field: 'max_age', from: 3600000000000, to: 604800000000000 } ]
// applied: stream PRINTS_LOG
