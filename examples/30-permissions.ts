// Users of the server who may do what their role needs, and nothing else. It starts a server
// of its own, which has them. The command does the same: npx jetrpc permissions.
import { ConnectError, type Connection } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import {
  createUserKey,
  findRefused,
  type Grant,
  inboxPrefixOf,
  permissionsOf,
  planService,
  toServerConfig,
} from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { nkeyAuthenticator } from "@nats-io/transport-node";

const service = PhotoService;
const grants: Record<string, Grant[]> = {
  admin: [{ role: "administrator", service }],
  worker: [{ role: "worker", service }],
  shop: [{ role: "client", service, owner: "shop", methods: ["GetInfo", "Resize"] }],
  press: [{ role: "client", service, owner: "press" }],
};

// Seeds are for the users alone; the server's configuration has public keys.
const users = Object.entries(grants).map(([name, each]) => {
  const { publicKey, seed } = createUserKey();
  return { name, publicKey, seed, permissions: permissionsOf({ name, grants: each }) };
});
await using server = await startNats({ config: toServerConfig([{ name: "PHOTOS", users }]) });

/** Connects as a user; in production its `.env` has NATS_NKEY_SEED and the like. */
async function as(name: string): Promise<Connection> {
  const seed = users.find((user) => user.name === name)?.seed;
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  return await connect({
    owner: name,
    inboxPrefix: inboxPrefixOf(name),
    nats: { servers: server.url, authenticator },
  });
}

/** The text of the error of a call that is not allowed. */
const refused = (error: unknown) => ConnectError.from(error).message;

// As `npx jetrpc apply` does: the others may not make streams.
const admin = await as("admin");
await (await planService(admin, service)).apply();

const workers = await as("worker");
const worker = await serve(
  service,
  {
    getInfo: () => ({ width: 4000 }),
    resize: ({ photo, width }) => ({ file: `${width}-${photo}` }),
  },
  { connection: workers },
);

const shop = await as("shop");
const photos = createPhotoClient(shop);
console.log(`width: ${(await photos.getInfo({ photo: "sea.jpg" })).width}`);
const call = await photos.resize.submit({ photo: "sea.jpg", width: 800 }, { callId: "order-1" });
console.log(`file: ${(await call.result()).file}`);

// Not granted, and not its own.
await photos.scan.submit({}).catch((error) => console.log(`scan: ${refused(error)}`));
const press = await as("press");
await createPhotoClient(press)
  .resize.attach("order-1")
  .result()
  .catch((error) => console.log(`press: ${refused(error)}`));

// As `npx jetrpc doctor` does: what the server refuses of all that a role needs.
const [first] = await findRefused(shop, [
  { role: "client", service, owner: "shop", methods: ["Resize", "Scan"] },
]);
console.log(`the shop may not, for one: ${first}`);

await worker.drain();
await Promise.all([admin, workers, shop, press].map((each) => each.close()));

// Prints:
// width: 4000
// file: 800-sea.jpg
// scan: [permission_denied] these credentials may not publish on photo.v1.PhotoService.queue.Scan.shop.…: ask for the permission
// press: [not_found] rpc photo.v1.PhotoService.Resize: no call "order-1" of owner "press" is known: it was never accepted, or its result is older than its retention
// the shop may not, for one: to subscribe to photo.v1.PhotoService.live.Scan.shop.>
