// One side of `npm run bench:blob`: `blob-process.js <worker|client> <folder>`.
import { join } from "node:path";
import { createClient, type DurableUnaryMethod } from "@jetrpc/runtime";
import { connect, fileBlob, saveBlob, serve } from "@jetrpc/runtime/node";
import {
  BenchService,
  type CopyRequestSchema,
  type CopyResponseSchema,
} from "./gen/bench/v1/bench_pb.js";

/** A client's answer. */
export interface CopyReply {
  readonly uploadSeconds: number;
  readonly seconds: number;
}

/** Memory of a process, in bytes. */
export interface Memory {
  readonly rss: number;
  /** The most that it ever was. */
  readonly peakRss: number;
}

function memory(): Memory {
  return {
    rss: process.memoryUsage().rss,
    peakRss: process.resourceUsage().maxRSS * 1024,
  };
}

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [role, folder = ""] = process.argv.slice(2);
const send = (message: unknown) => process.send?.(message);

if (role === "worker") {
  const path = join(folder, "worker.bin");
  await serve(BenchService, {
    copy: async ({ file }) => {
      await saveBlob(file, path);
      return { file: fileBlob(path) };
    },
  });
} else {
  const client = createClient<{
    copy: DurableUnaryMethod<typeof CopyRequestSchema, typeof CopyResponseSchema>;
  }>(BenchService, await connect());
  const copy = async (): Promise<CopyReply> => {
    const start = performance.now();
    const elapsed = () => (performance.now() - start) / 1000;
    const call = await client.copy.submit({ file: fileBlob(join(folder, "in.bin")) });
    const uploadSeconds = elapsed();
    const { file } = await call.result();
    await saveBlob(file, join(folder, "out.bin"));
    return { uploadSeconds, seconds: elapsed() };
  };
  process.on("message", (message) => {
    if (message === "copy") {
      copy().then(send, (error) => send({ error: String(error) }));
    }
  });
}
process.on("message", (message) => {
  if (message === "memory") {
    send(memory());
  }
});
send(memory());
