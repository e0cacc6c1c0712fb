// `npm run bench:blob`: a file from disk to disk and back, and the memory that it takes.
import { type ChildProcess, fork } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { connect } from "@nats-io/transport-node";
import type { CopyReply, Memory } from "./blob-process.js";

const usage = `npm run bench:blob -- [options]
  --megabytes N    size of the file (default 500)
  --cut            kills the server once in the upload and once in the download
  --json           prints the result as JSON`;

const megabyte = 1_000_000;

/** A process of blob-process.ts: it answers one message by one. */
class Side {
  private readonly process: ChildProcess;
  private readonly heard: unknown[] = [];
  private wake: (() => void) | undefined;
  private hasEnded = false;

  private constructor(role: string, folder: string, url: string) {
    this.process = fork(
      fileURLToPath(new URL("blob-process.js", import.meta.url)),
      [role, folder],
      {
        env: { ...process.env, NATS_URL: url },
      },
    );
    this.process.on("message", (message) => {
      this.heard.push(message);
      this.wake?.();
    });
    this.process.on("exit", () => {
      this.hasEnded = true;
      this.wake?.();
    });
  }

  /** Starts it; tells how much memory it takes before it does anything. */
  static async start(role: string, folder: string, url: string): Promise<[Side, Memory]> {
    const side = new Side(role, folder, url);
    return [side, (await side.next()) as Memory];
  }

  ask(message: string): Promise<unknown> {
    this.process.send(message);
    return this.next();
  }

  stop(): void {
    // A worker that is asked to end waits for what it has.
    this.process.kill("SIGKILL");
  }

  private async next(): Promise<unknown> {
    while (this.heard.length === 0) {
      if (this.hasEnded) {
        throw new Error("a process ended");
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.heard.shift();
  }
}

async function writeRandom(path: string, bytes: number): Promise<void> {
  const parts = function* () {
    for (let left = bytes; left > 0; left -= megabyte) {
      yield randomBytes(Math.min(left, megabyte));
    }
  };
  await pipeline(Readable.from(parts()), createWriteStream(path));
}

async function digest(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Kills the server when half of the upload is stored, and when half of the download is saved. */
async function cutTwice(server: NatsServer, folder: string, bytes: number): Promise<void> {
  const restart = async () => {
    await server.kill();
    await server.restart();
  };
  const nats = await connect({ servers: server.url, maxReconnectAttempts: -1 });
  const stored = async () => {
    const info = (
      await nats.request("$JS.API.STREAM.INFO.OBJ_bench_v1_BenchService_PAYLOAD")
    ).json();
    return (info as { state?: { bytes: number } }).state?.bytes ?? 0;
  };
  while ((await stored()) < bytes / 2) {
    await delay(5);
  }
  await nats.close();
  await restart();
  const saved = async () => {
    const names = (await readdir(folder)).filter((name) => name.startsWith("out.bin."));
    return names[0] ? ((await stat(join(folder, names[0]))).size ?? 0) : 0;
  };
  while ((await saved()) < bytes / 2) {
    await delay(5);
  }
  await restart();
}

async function measure(bytes: number, withCuts: boolean) {
  const folder = await mkdtemp(join(tmpdir(), "jetrpc-blob-"));
  const sides: Side[] = [];
  try {
    await using server = await startNats();
    await writeRandom(join(folder, "in.bin"), bytes);
    const [worker, workerBefore] = await Side.start("worker", folder, server.url);
    sides.push(worker);
    const [client, clientBefore] = await Side.start("client", folder, server.url);
    sides.push(client);
    const cuts = withCuts ? cutTwice(server, folder, bytes) : undefined;
    const reply = (await client.ask("copy")) as CopyReply | { error: string };
    if ("error" in reply) {
      // The cuts may wait for ever for what does not come any more.
      console.error(reply.error);
      process.exit(1);
    }
    await cuts;
    const [workerAfter, clientAfter] = (await Promise.all(
      [worker, client].map((side) => side.ask("memory")),
    )) as [Memory, Memory];
    const [sent, received] = await Promise.all(
      ["in.bin", "out.bin"].map((name) => digest(join(folder, name))),
    );
    return {
      bytes,
      cuts: withCuts ? 2 : 0,
      isSame: sent === received,
      uploadMBps: bytes / megabyte / reply.uploadSeconds,
      seconds: reply.seconds,
      clientRssBefore: clientBefore.rss,
      clientRssPeak: clientAfter.peakRss,
      workerRssBefore: workerBefore.rss,
      workerRssPeak: workerAfter.peakRss,
    };
  } finally {
    for (const side of sides) {
      side.stop();
    }
    await rm(folder, { recursive: true, force: true });
  }
}

function parse(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      megabytes: { type: "string", default: "500" },
      cut: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const megabytes = Number(values.megabytes);
  if (!(Number.isSafeInteger(megabytes) && megabytes > 0)) {
    throw new Error(`--megabytes must be a whole number above 0, and is "${values.megabytes}"`);
  }
  return { ...values, megabytes };
}

let settings: ReturnType<typeof parse> | undefined;
try {
  settings = parse(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  process.exitCode = 2;
}
if (settings) {
  const row = await measure(settings.megabytes * megabyte, settings.cut);
  const mb = (bytes: number) => `${Math.round(bytes / megabyte)} MB`;
  console.log(
    settings.json
      ? JSON.stringify(row)
      : `${mb(row.bytes)} from disk to disk and back in ${row.seconds.toFixed(1)} s, upload ${Math.round(row.uploadMBps)} MB/s, cut ${row.cuts} times: ${row.isSame ? "the same bytes" : "OTHER BYTES"}
client RSS ${mb(row.clientRssBefore)} before, ${mb(row.clientRssPeak)} at most
worker RSS ${mb(row.workerRssBefore)} before, ${mb(row.workerRssPeak)} at most`,
  );
  process.exitCode = row.isSame ? 0 : 1;
}
