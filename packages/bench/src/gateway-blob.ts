// `npm run bench:gateway-blob`: a file of 2 GB through a gateway, up and down, over connections that
// are cut ten times each way, and the memory that it takes. No side stores the file but NATS.
import { parseArgs } from "node:util";
import { startNats } from "@jetrpc/testing";
import { Child } from "./child.js";
import type { BlobReply } from "./gateway-blob-client.js";
import type { Held } from "./gateway-process.js";
import { ProcessWatch } from "./process-watch.js";
import { readNumber, runCommand } from "./settings.js";

const usage = `npm run bench:gateway-blob -- [options]
  --megabytes N    size of the file (default 2000); NATS stores it twice, in the system's folder
                   for temporary files, and deletes it at the end
  --cuts N         how often each way is cut (default 10)
  --json           prints the result as JSON`;

const megabyte = 1_000_000;

async function measure(bytes: number, cuts: number) {
  await using nats = await startNats();
  const children: Child[] = [];
  const spawn = (name: string, file: string, args: string[]) => {
    const child = new Child(name, file, args);
    children.push(child);
    return child;
  };
  try {
    await spawn("worker", "gateway-blob-worker.js", [nats.url]).next();
    const gateway = spawn("gateway", "gateway-process.js", [nats.url]);
    const address = String(await gateway.next());
    const client = spawn("client", "gateway-blob-client.js", [address, `${bytes}`, `${cuts}`]);
    const watches = [gateway, client].map(({ pid }) => new ProcessWatch(pid));
    const { upload, download, digest } = (await client.next()) as BlobReply;
    const [ofGateway, ofClient] = watches.map((watch) => watch.stop());
    const { peak } = (await gateway.ask("memory")) as Held;
    return {
      bytes,
      upload,
      download,
      isSame: upload.digest === digest && download.digest === digest,
      gateway: ofGateway,
      peak,
      client: ofClient,
    };
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
}

await runCommand(usage, async () => {
  const { values } = parseArgs({
    options: {
      megabytes: { type: "string" },
      cuts: { type: "string" },
      json: { type: "boolean" },
    },
  });
  const bytes = readNumber("megabytes", values.megabytes ?? "2000") * megabyte;
  const row = await measure(bytes, readNumber("cuts", values.cuts ?? "10"));
  const mb = (of: number) => `${Math.round(of / megabyte)} MB`;
  const way = (name: string, { seconds, cuts }: BlobReply["upload"]) =>
    `${name} in ${seconds.toFixed(1)} s (${Math.round(row.bytes / megabyte / seconds)} MB/s), cut ${cuts} times`;
  const rss = (name: string, seen: typeof row.gateway) =>
    `${name} RSS ${mb(seen?.first ?? 0)} before, ${mb(seen?.most ?? 0)} at most, ${mb(seen?.growth ?? 0)} more in the last fifth of the time than in the second`;
  const lines = [
    `${mb(row.bytes)} through a gateway: ${row.isSame ? "the same bytes" : "OTHER BYTES"}`,
    way("upload", row.upload),
    way("download", row.download),
    rss("gateway", row.gateway),
    rss("client", row.client),
    `gateway at its most: RSS ${mb(row.peak.rss)}, of it heap ${mb(row.peak.heapTotal)} (used ${mb(row.peak.heapUsed)}), array buffers ${mb(row.peak.arrayBuffers)}, other external ${mb(row.peak.external - row.peak.arrayBuffers)}`,
  ];
  console.log(values.json ? JSON.stringify(row) : lines.join("\n"));
  process.exitCode = row.isSame ? 0 : 1;
});
