// A browser speaks NATS over a WebSocket. nats-server asks a service of ours who it is (auth
// callout), and puts each tenant's users into an account of its own, with the permissions of a
// client: another tenant's calls are out of reach. Node 22, or 20 with --experimental-websocket.
import { randomBytes } from "node:crypto";
import { ConnectError, createConnection } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { inboxPrefixOf, permissionsOf, toJwtClaims } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { decode, encodeAuthorizationResponse, encodeUser, type User } from "@nats-io/jwt";
import { nkeys, wsconnect } from "@nats-io/nats-core";

const tenants = ["ada", "grace"];
// The server knows the public key; the seed is the callout service's alone.
const issuer = nkeys.createAccount();
const pass = randomBytes(16).toString("hex");
await using server = await startNats({
  websocket: true,
  config: `
    accounts {
      AUTH { users: [{ user: auth, password: "${pass}" }] }
      ${tenants
        .map(
          (tenant) => `${tenant} {
            jetstream: enabled
            users: [{ user: workers-${tenant}, password: "${pass}" }]
          }`,
        )
        .join("\n")}
    }
    authorization {
      timeout: 10
      auth_callout {
        issuer: ${issuer.getPublicKey()}
        account: AUTH
        auth_users: [auth, ${tenants.map((tenant) => `workers-${tenant}`).join(", ")}]
      }
    }`,
});
const as = (user: string) => connect({ nats: { servers: server.url, user, pass } });

/** The sessions of the web app: in production the token is one that its login has signed. */
const sessions = new Map(tenants.map((tenant) => [`session of ${tenant}`, tenant]));

interface Asked {
  server_id: { id: string };
  user_nkey: string;
  connect_opts: { auth_token?: string };
}

const auth = await as("auth");
const asked = auth.nats.subscribe("$SYS.REQ.USER.AUTH", {
  callback(_error, message) {
    const request = decode<Asked>(message.string()).nats as Asked;
    const tenant = sessions.get(request.connect_opts.auth_token ?? "");
    void answer(request, tenant).then((jwt) => message.respond(jwt));
  },
});

/** Lets somebody in as a client of a tenant, or says why not. */
async function answer({ user_nkey: user, server_id }: Asked, tenant: string | undefined) {
  const response = tenant ? { jwt: await admit(user, tenant) } : { error: "no such session" };
  return encodeAuthorizationResponse(user, server_id.id, issuer, response, {});
}

/** A user of the tenant's account, for an hour: then the server ends the connection, and asks again. */
function admit(user: string, tenant: string): Promise<string> {
  const service = PhotoService;
  const grants = [{ role: "client" as const, service, owner: tenant }];
  const { nats } = toJwtClaims(permissionsOf({ name: tenant, grants }));
  const exp = Math.floor(Date.now() / 1000) + 3600;
  return encodeUser(tenant, user, issuer, nats as Partial<User>, { aud: tenant, exp });
}

// The workers of each tenant.
const serving = await Promise.all(
  tenants.map(async (tenant) => {
    const connection = await as(`workers-${tenant}`);
    const resize = ({ photo }: { photo: string }) => ({ file: `${tenant}/${photo}` });
    const worker = await serve(PhotoService, { resize }, { connection });
    return { worker, connection };
  }),
);

/** What a page does, with the token of its session. */
async function open(tenant: string, owner = tenant) {
  const nats = await wsconnect({
    servers: server.websocketUrl ?? "",
    token: `session of ${tenant}`,
    reconnect: false,
  });
  return createConnection(nats, { owner, inboxPrefix: inboxPrefixOf(tenant) });
}
/** The text of an error, without what differs. */
const refused = (error: unknown) => ConnectError.from(error).message;

const [ada, grace] = await Promise.all([open("ada"), open("grace")]);
const call = await createPhotoClient(ada).resize.submit(
  { photo: "sea.jpg" },
  { callId: "order-1" },
);
console.log((await call.result()).file);

// The same id is another call for another tenant, and Ada's is not to be found.
const photos = createPhotoClient(grace);
await photos.resize
  .attach("order-1")
  .result()
  .catch((error) => console.log(refused(error)));
console.log(
  (await (await photos.resize.submit({ photo: "sea.jpg" }, { callId: "order-1" })).result()).file,
);

// Nor does she hear anything of it, or act as Ada.
const heard = grace.nats.subscribe(">", { callback: (error) => console.log(error?.name) });
await grace.nats.flush();
const asAda = await open("grace", "ada");
await createPhotoClient(asAda)
  .resize.submit({})
  .catch((error) => console.log(refused(error)));
await open("eve").catch((error) => console.log(`eve: ${error.name}`));

heard.unsubscribe();
asked.unsubscribe();
for (const { worker, connection } of serving) {
  await worker.drain();
  await connection.close();
}
await Promise.all([ada, grace, asAda, auth].map((connection) => connection.close()));

// Prints:
// ada/sea.jpg
// [not_found] rpc photo.v1.PhotoService.Resize: no call "order-1" …
// grace/sea.jpg
// PermissionViolationError
// [permission_denied] these credentials may not publish on photo.v1.PhotoService.queue.Resize.ada.…
// eve: AuthorizationError
