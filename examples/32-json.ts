// A request in JSON is answered in JSON: any NATS client can make a direct call, and so can
// a person: nats request photo.v1.PhotoService.rpc.GetInfo … -H Content-Type:application/json
import { Code, ConnectError } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";
import { PhotoService } from "@jetrpc-examples/photo-v1-client";
import { connect, headers } from "@nats-io/transport-node";
import { startServer } from "./server.js";

await using _server = await startServer();
const worker = await serve(PhotoService, {
  getInfo({ photo }) {
    if (photo !== "sea.jpg") {
      throw new ConnectError(`there is no ${photo}`, Code.NotFound);
    }
    return { width: 4000, height: 3000 };
  },
});

// Nothing of jetrpc from here on. The subject is made of the names in the .proto.
const nats = await connect({ servers: process.env["NATS_URL"] ?? "" });
const subject = "photo.v1.PhotoService.rpc.GetInfo";

const json = headers();
json.set("Content-Type", "application/json");
for (const photo of ["sea.jpg", "hill.jpg"]) {
  const reply = await nats.request(subject, JSON.stringify({ photo }), {
    headers: json,
    timeout: 5_000,
  });
  console.log(reply.string());
}

await nats.close();
await worker.drain();

// Prints:
// {"width":4000,"height":3000}
// {"code":"not_found","message":"there is no hill.jpg"}
