// Rules in the .proto, by protovalidate, are checked by an interceptor. On the client a
// request that breaks one is not even sent; the worker checks for those who do not.
import { ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { createValidateInterceptor } from "@connectrpc/validate";
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { startServer } from "./server.js";

await using _server = await startServer();
const worker = await serve(
  PhotoService,
  {
    resize({ photo, width }) {
      console.log(`the handler runs: ${photo}, ${width} pixels`);
      return {};
    },
  },
  { interceptors: [createValidateInterceptor()], logger: false },
);

const careful = await connect({ interceptors: [createValidateInterceptor()] });
const careless = await connect();
for (const connection of [careful, careless]) {
  await createPhotoClient(connection)
    .resize({ photo: "", width: 20_000 })
    .catch((thrown) => {
      const error = ConnectError.from(thrown);
      console.log(`${connection === careful ? "not sent" : "not run"}: ${Code[error.code]}`);
      for (const { violations } of error.findDetails(ViolationsSchema)) {
        console.log(`  ${violations.map(({ message }) => message).join("; ")}`);
      }
    });
}
await createPhotoClient(careful).resize({ photo: "sea.jpg", width: 800 });

await worker.drain();
await Promise.all([careful.close(), careless.close()]);

// Prints:
// not sent: InvalidArgument
//   must be at least 1 characters; must be greater than 0 and less than or equal to 10000
// not run: InvalidArgument
//   must be at least 1 characters; must be greater than 0 and less than or equal to 10000
// the handler runs: sea.jpg, 800 pixels
