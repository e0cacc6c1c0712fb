import { expect, test } from "vitest";
import { bytes } from "../../runtime/test/blob-support.js";
import { BlobService } from "../../runtime/test/gen/test/v1/blob_pb.js";
import { useProcesses } from "../../runtime/test/process.js";
import { until } from "../../runtime/test/support.js";
import { put } from "./blob-client.js";
import { useGateway } from "./support.js";

const { nats, worker } = useGateway();
const startProcess = useProcesses();

test("a gateway holds a small part of a file that is uploaded", async () => {
  await worker(BlobService, { copy: (request) => request });
  const env = { NATS_URL: nats.server.url };
  const child = startProcess("../../gateway/test/blob-gateway.mjs", env);
  const url = await child.hears((line) => line.startsWith("http"));
  /** The most memory since it was asked last, in MB. */
  const memory = async () => {
    const said = child.heard.length;
    child.write("");
    await until(() => child.heard.length > said);
    return Number(child.heard.at(-1)?.split(" ")[1]);
  };
  const upload = async (callId: string, all: Uint8Array) => {
    const answer = await put(`${url}/blobs/test.v1.BlobService/Copy/${callId}/0`, all, {});
    expect(answer).toMatchObject({ status: 201 });
  };
  // The first upload loads all code.
  await upload("warm", bytes(4 * 1024 * 1024));
  const before = await memory();
  await upload("film", bytes(400 * 1024 * 1024));
  // Some MB are on their way, and Node keeps some that it does not need any more.
  expect((await memory()) - before).toBeLessThan(200);
});
