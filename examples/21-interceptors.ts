// Interceptors are Connect's, on either side: they see every call, and may change its headers,
// refuse it, time it, or hand values to handlers.
import { createContextKey } from "@connectrpc/connect";
import { Code, ConnectError, type Interceptor } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

const user = createContextKey("nobody");

/** On the client: around each call, and around submit(). */
const signIn: Interceptor = (next) => (request) => {
  request.header.set("authorization", "Bearer ada");
  return next(request);
};

/** On the worker: around each direct call, and around each attempt of a durable one. */
const authenticate: Interceptor = (next) => async (request) => {
  const [, name] = request.header.get("authorization")?.split(" ") ?? [];
  if (!name) {
    throw new ConnectError("sign in first", Code.Unauthenticated);
  }
  request.contextValues.set(user, name);
  const response = await next(request);
  console.log(`${request.method.name} of ${name} is done`);
  return response;
};

await using _server = await startServer();
const worker = await serve(
  PhotoService,
  {
    getInfo: (_request, { values }) => ({ width: values.get(user).length }),
    resize: ({ photo }, { values }) => ({ file: `${values.get(user)}/${photo}` }),
  },
  { interceptors: [authenticate], logger: false },
);

const connection = await connect({ interceptors: [signIn] });
const photos = createPhotoClient(connection);
const { width } = await photos.getInfo({ photo: "sea.jpg" });
console.log(`width: ${width}`);
const { file } = await photos.resize({ photo: "sea.jpg", width: 800 });
console.log(`file: ${file}`);

const stranger = await connect();
await createPhotoClient(stranger)
  .getInfo({ photo: "sea.jpg" })
  .catch((error) => console.log(error.message));

await worker.drain();
await Promise.all([connection.close(), stranger.close()]);

// Prints:
// GetInfo of ada is done
// width: 3
// Resize of ada is done
// file: ada/sea.jpg
// [unauthenticated] sign in first
