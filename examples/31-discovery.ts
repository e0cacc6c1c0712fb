// Workers tell what they are: every one is a service of NATS micro, so that `nats micro ls`
// shows it, too. A client can be made of what a worker tells, without a .proto.
import {
  checkHealth,
  createClient,
  describeService,
  listServices,
  type UnaryMethod,
} from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { PhotoService, PrintService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const worker = await serve(
  PhotoService,
  { getInfo: () => ({ width: 4000, height: 3000 }), resize: ({ photo }) => ({ file: photo }) },
  { version: "1.2.0" },
);

const connection = await connect();
for (const { typeName, version, status, methods } of await listServices(connection)) {
  console.log(`${typeName} ${version}, ${status}`);
  for (const { name, kind, delivery, input, output } of methods) {
    console.log(`  ${name}: ${kind}, ${delivery}, ${input} -> ${output}`);
  }
}
for (const { typeName } of [PhotoService, PrintService]) {
  console.log(`${typeName}: ${await checkHealth(connection, typeName)}`);
}

// Here only the name of the service is known.
const service = await describeService(connection, "photo.v1.PhotoService");
const client = createClient<Record<string, UnaryMethod<never, never>>>(service, connection);
console.log(JSON.stringify(await client["getInfo"]?.({ photo: "sea.jpg" } as never)));

await worker.drain();
await connection.close();

// Prints:
// photo.v1.PhotoService 1.2.0, SERVING
//   GetInfo: unary, direct, photo.v1.GetInfoRequest -> photo.v1.GetInfoResponse
//   Resize: unary, durable, photo.v1.ResizeRequest -> photo.v1.ResizeResponse
// photo.v1.PhotoService: SERVING
// photo.v1.PrintService: SERVICE_UNKNOWN
// {"$typeName":"photo.v1.GetInfoResponse","width":4000,"height":3000}
