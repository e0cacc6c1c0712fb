/**
 * A server whose users may do what their role needs, and nothing else. Run by
 * `npm run example:permissions`; it starts a nats-server of its own.
 */
import { ConnectError, type Connection } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import {
  createUserKey,
  type Grant,
  inboxPrefixOf,
  permissionsOf,
  planService,
  toServerConfig,
} from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { createPdfClient, PdfService, type PdfWorker } from "@jetrpc-examples/pdf-v1-client";
import { nkeyAuthenticator } from "@nats-io/transport-node";

const service = PdfService;
const grants: Record<string, Grant[]> = {
  admin: [{ role: "administrator", service }],
  worker: [{ role: "worker", service }],
  shop: [{ role: "client", service, owner: "shop", methods: ["GetInfo", "Split"] }],
  press: [{ role: "client", service, owner: "press" }],
};

// Seeds are for the users alone; the server's configuration has public keys.
const users = Object.entries(grants).map(([name, each]) => ({
  name,
  key: createUserKey(),
  permissions: permissionsOf({ name, grants: each }),
}));
const config = toServerConfig([
  {
    name: "PDF",
    users: users.map(({ name, key, permissions }) => ({
      name,
      publicKey: key.publicKey,
      permissions,
    })),
  },
]);
await using nats = await startNats({ config });

const connections: Connection[] = [];

/** Connects as a user; in production its `.env` has NATS_NKEY_SEED and the like. */
async function as(name: string): Promise<Connection> {
  const seed = users.find((user) => user.name === name)?.key.seed ?? "";
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  const connection = await connect({
    owner: name,
    inboxPrefix: inboxPrefixOf(name),
    nats: { servers: nats.url, authenticator },
  });
  connections.push(connection);
  return connection;
}

/** What a call says that is not allowed. */
const refused = (error: unknown) => ConnectError.from(error).message;

// `jetrpc apply`: the others may not make streams.
const admin = await as("admin");
await (await planService(admin, service)).apply();

const worker = await serve(
  service,
  {
    getInfo: () => ({ pageCount: 3 }),
    split: ({ document }) => ({ documents: [document, document] }),
  } satisfies Partial<PdfWorker>,
  { connection: await as("worker") },
);

const shop = createPdfClient(await as("shop"));
const document = new Uint8Array([1, 2, 3]);
console.log(`pages: ${(await shop.getInfo({ document })).pageCount}`);
const call = await shop.split.submit({ document }, { callId: "order-1" });
console.log(`parts: ${(await call.result()).documents.length}`);

// Not granted, and not its own.
await shop.merge.submit({}).catch((error) => console.log(`merge: ${refused(error)}`));
const press = createPdfClient(await as("press"));
await press.split
  .attach("order-1")
  .result()
  .catch((error) => console.log(`another owner: ${refused(error)}`));

await worker.drain();
await Promise.all(connections.map((connection) => connection.close()));
