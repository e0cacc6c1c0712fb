// connect() reads its settings from the environment and from .env; an option goes before both.
// It refuses wrong ones at once. It starts a server of its own, which wants a token.
import { once } from "node:events";
import { Code, ConnectError } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";

await using server = await startNats({ config: "authorization { token: secret }" });

/** Tries to connect, and tells what is wrong. */
async function tryToConnect(): Promise<void> {
  try {
    await (await connect()).close();
    console.log("connected");
  } catch (thrown) {
    const { code, rawMessage } = ConnectError.from(thrown);
    console.log(`${Code[code]}: ${rawMessage}`);
  }
}

process.env["NATS_URL"] = server.url;
await tryToConnect();
process.env["NATS_TOKEN"] = "secret";
process.env["NATS_USER"] = "ada";
await tryToConnect();
delete process.env["NATS_USER"];
await tryToConnect();

// Options of jetrpc, and of the NATS client.
const connection = await connect({ defaultTimeoutMs: 100, nats: { name: "the shop" } });
const worker = await serve(PhotoService, {
  async getInfo(_request, { signal }) {
    await once(signal, "abort");
    return {};
  },
});
await createPhotoClient(connection)
  .getInfo({ photo: "sea.jpg" })
  .catch((error) => console.log(`after 100 ms: ${Code[error.code]}`));
void connection.closed.then((reason) => console.log(`closed: ${reason?.message ?? "by us"}`));
await connection.close();
await worker.drain();

// Prints:
// Unauthenticated: the NATS server at 127.0.0.1:… refuses a client without credentials (set NATS_TOKEN, NATS_USER and NATS_PASSWORD, NATS_NKEY_SEED or NATS_CREDS): Authorization Violation
// InvalidArgument: NATS_TOKEN and NATS_USER are set: keep one of them
// connected
// after 100 ms: DeadlineExceeded
// closed: by us
