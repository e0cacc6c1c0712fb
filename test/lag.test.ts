import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient, openBlob } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { headers } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { ConvertResponseSchema } from "../packages/chaos/src/gen/chaos/v1/chaos_pb.js";
import { type ChaosClient, serviceFor } from "../packages/chaos/src/service.js";

// What a server of a cluster does that gets a file later than the log that names it.
test("a Blob is read although the server that is asked lags behind the others", async () => {
  await using server = await startNats();
  const connection = await connect({ nats: { servers: server.url } });
  const { nats } = connection;
  const log = "chaos.v1.ChaosService.log";
  const object = "log.Convert._._.late.base.0";
  for (const [name, subject] of [
    ["CHAOS_LOG", `${log}.>`],
    ["OBJ_CHAOS_PAYLOAD", "$O.CHAOS_PAYLOAD.>"],
  ] as const) {
    const config = { name, subjects: [subject], allow_direct: true, storage: "memory" };
    await nats.request(`$JS.API.STREAM.CREATE.${name}`, JSON.stringify(config));
  }
  const store = (subject: string, payload: Uint8Array, name: string, value: string) => {
    const own = headers();
    own.set(name, value);
    return nats.request(subject, payload, { headers: own, timeout: 60_000 });
  };
  const [first, second] = [Buffer.from("what is there, "), Buffer.from("and what comes")];
  const whole = Buffer.concat([first, second]);
  const digest = `SHA-256=${createHash("sha256").update(whole).digest("base64url")}=`;
  const response = create(ConvertResponseSchema, {
    file: { object, size: BigInt(whole.length), digest },
  });
  const end = toBinary(ConvertResponseSchema, response);
  await store(`${log}.Convert._._.late.entry`, end, "Jetrpc-Entry", "end 1 succeeded");
  await store(`$O.CHAOS_PAYLOAD.C.${object}`, first, "Jetrpc-Chunk", `1 ${first.length}`);

  const looks = nats.subscribe("$JS.API.CONSUMER.DELETE.OBJ_CHAOS_PAYLOAD.*", { max: 1 });
  const client = createClient<ChaosClient>(serviceFor(3), connection);
  const { file } = await client.convert.attach("late").result();
  const reading = (async () => {
    const pieces: Uint8Array[] = [];
    for await (const piece of file ? openBlob(file) : []) {
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString();
  })();
  // Whoever reads it has come to the end of what is there.
  for await (const _ of looks) {
    await store(`$O.CHAOS_PAYLOAD.C.${object}`, second, "Jetrpc-Chunk", `2 ${whole.length}`);
  }
  expect(await reading).toBe(whole.toString());
  await connection.close();
});
