import { startNats } from "@jetrpc/testing";
import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { deleteStream } from "../src/faults/delete-stream.js";

const config = { name: "LOG", subjects: ["log.>"], storage: "file" };

const patience = { timeout: 240_000 };

interface Ack {
  readonly seq?: number;
  readonly error?: { readonly code: number };
}

// While others write, and make the stream again at once.
test.each([
  ["that republishes", { ...config, republish: { src: "log.>", dest: "live.>" } }],
  ["that does not", config],
])("tells exactly what was in a deleted stream %s", async (_, settings) => {
  await using server = await startNats();
  const nats = await connect({ servers: server.url });
  const create = () => nats.request("$JS.API.STREAM.CREATE.LOG", JSON.stringify(settings));
  await create();
  /** Subjects that were stored, in the stream and in those that took its place. */
  const stored: Set<string>[] = [new Set()];
  /** Those of which the writer does not know whether they were. */
  const unanswered = new Set<string>();
  let last = 0;
  let isOver = false;
  let isDeleted = false;
  const write = async (writer: number) => {
    let failures = 0;
    for (let index = 0; !isOver; index++) {
      const subject = `log.${writer}.${index}`;
      // A message to a stream that is being deleted may never be answered.
      const ack = await nats.request(subject, "", { timeout: 1_000 }).then(
        (reply) => reply.json<Ack>(),
        () => undefined,
      );
      if (ack === undefined) {
        unanswered.add(subject);
      }
      if (ack?.seq === undefined || ack.error) {
        // At a high load nothing was stored, twice, in the stream that had taken its place.
        if (isDeleted && ++failures % 10 === 0) {
          await nats.request("$JS.API.STREAM.DELETE.LOG").catch(() => undefined);
        }
        await create().catch(() => undefined);
      } else {
        // The answer to its first message may be the one that is late.
        if (ack.seq <= last) {
          stored.push(new Set());
        }
        last = ack.seq;
        stored.at(-1)?.add(subject);
      }
    }
  };
  // One writer: what it was told last is what was stored last.
  const writing = write(1);
  await expect.poll(() => stored[0]?.size, patience).toBeGreaterThan(300);
  let deleted: ReadonlySet<string> = new Set();
  // A server that is too busy to answer deletes nothing.
  while (deleted.size === 0) {
    deleted = await deleteStream([server], "LOG");
  }
  isDeleted = true;
  await expect.poll(() => stored.length, patience).toBeGreaterThan(1);
  isOver = true;
  await writing;
  const unknown = [...deleted].filter((subject) => !stored[0]?.has(subject));
  expect(unknown.filter((subject) => !unanswered.has(subject))).toEqual([]);
  expect([...(stored[0] ?? [])].filter((subject) => !deleted.has(subject))).toEqual([]);
  await nats.close();
});

test("a stream that is not there has nothing", async () => {
  await using server = await startNats();
  expect(await deleteStream([server], "LOG")).toEqual(new Set());
});
