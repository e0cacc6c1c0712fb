/**
 * `npm run example:telemetry`: calls go to two worker processes, one of which is killed. Prints
 * the whole trace of the call that was taken over, of three processes, and the metrics of all.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { telemetry } from "@jetrpc/otel";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createPhotoClient } from "@jetrpc-examples/photo-v1-client";
import { type SentPoint, type SentSpan, setUp } from "./sdk.js";
import { toTree } from "./tree.js";
import { runWorker } from "./worker.js";

/** A message of a worker process. */
interface FromWorker {
  readonly ready?: true;
  readonly span?: SentSpan;
  readonly points?: SentPoint[];
}

async function main(): Promise<void> {
  const spans: SentSpan[] = [];
  const readMetrics = setUp("app", (span) => spans.push(span));
  await using nats = await startNats();

  /** Starts a worker process, whose spans come here. */
  const startWorker = async (name: string) => {
    const worker = fork(process.argv[1] as string, [name], {
      env: { ...process.env, NATS_URL: nats.url },
    });
    worker.on("message", ({ span }: FromWorker) => span && spans.push(span));
    await heard(worker, ({ ready }) => ready);
    return worker;
  };
  const metricsOf = (worker: ChildProcess) => {
    worker.send("metrics");
    return heard(worker, ({ points }) => points);
  };

  const first = await startWorker("worker 1");
  const connection = await connect({ nats: { servers: nats.url }, observer: telemetry() });
  const photos = createPhotoClient(connection);

  // Some load.
  for (let number = 1; number <= 10; number++) {
    await photos.getInfo({ photo: `${number}.jpg` });
    await photos.resize({ photo: `${number}.jpg`, width: 800 });
  }
  // A call that worker 1 begins, and worker 2 ends.
  const reports: SentPoint[] = [];
  let second: ChildProcess | undefined;
  for await (const { file } of photos.makeThumbnails({ album: "sea", count: 6 })) {
    if (file === "3.jpg") {
      reports.push(...(await metricsOf(first)));
      const gone = once(first, "exit");
      first.kill("SIGKILL");
      await gone;
      console.log("worker 1 was killed; the server gives its call to worker 2 after 15 s");
      second = await startWorker("worker 2");
    }
  }
  if (second) {
    reports.push(...(await metricsOf(second)));
    second.disconnect();
    await once(second, "exit");
  }
  await connection.close();
  reports.push(...(await readMetrics()));

  const call = spans.find(({ name }) => name === "photo.v1.PhotoService/MakeThumbnails");
  console.log(
    `\nThe trace of one call:\n${toTree(spans.filter(({ trace }) => trace === call?.trace))}`,
  );
  console.log(`\nMetrics:\n${toTable(reports)}`);
}

/** Waits for a message of a worker. */
async function heard<T>(
  worker: ChildProcess,
  pick: (from: FromWorker) => T | undefined,
): Promise<T> {
  for (;;) {
    const [message] = await once(worker, "message");
    const picked = pick(message);
    if (picked !== undefined) {
      return picked;
    }
  }
}

/** The numbers of all processes together. */
function toTable(points: readonly SentPoint[]): string {
  const sums = new Map<string, { count: number; sum: number | undefined }>();
  for (const { metric, attributes, count, sum } of points) {
    const key = `${metric.padEnd(36)} ${attributes}`;
    const before = sums.get(key);
    sums.set(key, {
      count: count + (before?.count ?? 0),
      sum: sum === undefined ? undefined : sum + (before?.sum ?? 0),
    });
  }
  return [...sums]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([key, { count, sum }]) =>
      sum === undefined
        ? `${key}: ${count}`
        : `${key}: ${count}, ${(sum / count).toFixed(3)} s each`,
    )
    .join("\n");
}

const [, , worker] = process.argv;
await (worker === undefined ? main() : runWorker(worker));

// Prints:
// worker 1 was killed; the server gives its call to worker 2 after 15 s
//
// The trace of one call:
// app       photo.v1.PhotoService/MakeThumbnails … ms
// app         submit photo.v1.PhotoService.queue.MakeThumbnails … ms
// ?             (a span that never ended: its process was killed)
// worker 1        draw thumbnail 1 … ms
// worker 1        draw thumbnail 2 … ms
// worker 1        draw thumbnail 3 … ms
// …
// worker 2      process photo.v1.PhotoService.queue.MakeThumbnails succeeded … ms
// worker 2        draw thumbnail 1 … ms
// worker 2        draw thumbnail 2 … ms
// worker 2        draw thumbnail 3 … ms
// worker 2        draw thumbnail 4 … ms
// worker 2        draw thumbnail 5 … ms
// worker 2        draw thumbnail 6 … ms
//
// Metrics:
// …
// jetrpc.calls.ended                   photo.v1.PhotoService/MakeThumbnails succeeded: 1
// jetrpc.calls.ended                   photo.v1.PhotoService/Resize succeeded: 10
// …
