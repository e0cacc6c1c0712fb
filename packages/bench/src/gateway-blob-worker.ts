// A worker that sends a Blob back as it comes: `gateway-blob-worker.js <NATS URL>`.
import { blobOf, openBlob } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { BenchService } from "./gen/bench/v1/bench_pb.js";

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [url = ""] = process.argv.slice(2);
await serve(
  BenchService,
  { copy: ({ file }) => ({ file: blobOf(() => openBlob(file)) }) },
  { connection: await connect({ nats: { servers: url } }) },
);
process.send?.("ready");
