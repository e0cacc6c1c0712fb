import { blobOf, Code, createConnection } from "@jetrpc/runtime";
import { startNats } from "@jetrpc/testing";
import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { bytes, chunk, copier, read, sha256, useBlobs } from "./blob-support.js";
import { useNats } from "./support.js";

const nats = useNats();
const blobs = useBlobs(nats);

const service = "test.v1.BlobService";
const bucket = "$O.BLOB_PAYLOAD";
const api = "$JS.API";
const get = `${api}.DIRECT.GET`;

/** What docs/protocol.md says that a client needs for Blobs; `acme` is its owner. */
const blobClient = [
  `${bucket}.C.queue.*.acme.>`,
  `${bucket}.M.*`,
  `${get}.OBJ_BLOB_PAYLOAD.${bucket}.C.queue.*.acme.>`,
  `${api}.CONSUMER.CREATE.OBJ_BLOB_PAYLOAD.*.${bucket}.C.log.*.acme.>`,
  `${api}.CONSUMER.MSG.NEXT.OBJ_BLOB_PAYLOAD.*`,
  `${api}.CONSUMER.DELETE.OBJ_BLOB_PAYLOAD.*`,
];

/** The same for a worker. */
const blobWorker = [
  `${bucket}.C.queue.>`,
  `${bucket}.C.log.>`,
  `${bucket}.M.*`,
  `${get}.OBJ_BLOB_PAYLOAD.${bucket}.C.log.>`,
  `${get}.BLOB_DEAD.${service}.dead.>`,
  `${api}.CONSUMER.CREATE.OBJ_BLOB_PAYLOAD.*.${bucket}.C.queue.>`,
  `${api}.CONSUMER.MSG.NEXT.OBJ_BLOB_PAYLOAD.*`,
  `${api}.CONSUMER.DELETE.OBJ_BLOB_PAYLOAD.*`,
];

/** What calls need without Blobs. */
const client = [
  `${service}.queue.*.acme.>`,
  `${get}.BLOB.>`,
  `${get}.BLOB_LOG.>`,
  `${get}.BLOB_LATER.>`,
  `${get}.BLOB_DEAD.>`,
  `${api}.CONSUMER.*.BLOB_LOG.>`,
  `${api}.CONSUMER.MSG.NEXT.BLOB_LOG.*`,
];
const worker = [
  `${service}.>`,
  `${api}.INFO`,
  `${api}.*.INFO.>`,
  `${api}.CONSUMER.MSG.NEXT.*.*`,
  `${api}.CONSUMER.*.BLOB_LOG.>`,
  `${get}.BLOB.>`,
  `${get}.BLOB_LOG.>`,
  `${get}.BLOB_LATER.>`,
  "$JS.ACK.>",
  "$SRV.>",
];

function user(name: string, publish: string[]): string {
  return `{ user: ${name}, password: p, permissions: { subscribe: ">", publish: ${JSON.stringify([...publish, "_INBOX.>"])} } }`;
}

test("client and worker need no more than their part of the bucket", async () => {
  await using server = await startNats({
    config: `authorization { users: [
      { user: admin, password: p }
      ${user("client", [...client, ...blobClient])}
      ${user("worker", [...worker, ...blobWorker])}
    ] }`,
  });
  const open = async (name: string, owner = "acme") => {
    const options = { servers: server.url, user: name, pass: "p" };
    return createConnection(await connect(options), { owner });
  };
  const admin = await open("admin");
  await (await blobs.worker(copier, { connection: admin })).drain();
  const [near, far, stranger] = [
    await open("client"),
    await open("worker"),
    await open("client", "other"),
  ];
  const running = await blobs.worker(copier, { connection: far });
  const content = bytes(40 * chunk);
  const data = bytes(1_500_000);
  const { copy } = await blobs.client(near);
  const call = await copy.submit({ file: blobOf(content), data }, { callId: "film" });
  const result = await call.result();
  expect(sha256(await read(result.file))).toBe(sha256(content));
  expect(result.data).toHaveLength(data.length);
  const refused = (await blobs.client(stranger)).copy.submit({ file: blobOf(content) });
  await expect(refused).rejects.toMatchObject({ code: Code.PermissionDenied });
  await running.drain();
  for (const connection of [admin, near, far, stranger]) {
    await connection.close();
  }
});
