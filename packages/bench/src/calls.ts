// `npm run bench:calls`: what it takes to find calls, by how many are stored.
import { parseArgs } from "node:util";
import { connect } from "@jetrpc/runtime/node";
import { type CallFilter, createOperator, planService } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { startNats } from "@jetrpc/testing";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { round3 } from "./figures.js";
import { BenchService } from "./gen/bench/v1/bench_pb.js";
import { makeOrder, writeOrder } from "./order.js";
import { readCpu } from "./process-watch.js";
import { formatColumns } from "./report.js";
import { readNumber, readNumbers, runCommand } from "./settings.js";

const usage = `npm run bench:calls -- [options]
  --calls A,B      how many calls are stored (default 100000,1000000: five minutes)
  --rounds N       times that each is asked for (default 5)`;

/** Messages that are published before the server is waited for. */
const unanswered = 2_000;

/** One of so many failed, one was canceled, one is queued; the others succeeded. */
const failedOf = 100;
const canceledOf = 1_000;
const queuedOf = 50;

/** Stores calls as the protocol says: what workers and clients would have written. */
async function fill(nats: NatsConnection, prefix: string, method: string, count: number) {
  const payload = writeOrder(makeOrder());
  for (let n = 0; n < count; n++) {
    const owner = n % 10 === 0 ? "acme" : "_";
    const call = `${method}.${owner}._.invoice-${n}`;
    const block = headers();
    block.set("Jetrpc-Accepted", `${Date.now()}`);
    if (n % queuedOf === 1) {
      nats.publish(`${prefix}.queue.${call}`, payload);
    } else if (n % failedOf === 2) {
      block.set("Nats-Service-Error-Code", "3");
      block.set("Nats-Service-Error", "no such order");
      block.set("Jetrpc-Attempts", "1");
      nats.publish(`${prefix}.dead.${call}`, payload, { headers: block });
      block.set("Jetrpc-Entry", "end 1 failed");
      nats.publish(`${prefix}.log.${call}.entry`, new Uint8Array(0), { headers: block });
    } else {
      const how = n % canceledOf === 3 ? "cancelled" : "succeeded";
      block.set("Jetrpc-Entry", `end 1 ${how}`);
      nats.publish(`${prefix}.log.${call}.entry`, payload, { headers: block });
    }
    if (n % unanswered === 0) {
      // Answered when all before it are stored: the stream of the logs has most of them.
      await nats.request(`${prefix}.log.${method}.z._.fill-${n}.entry`, "", { timeout: 60_000 });
    }
  }
}

async function measure(count: number, rounds: number): Promise<string[][]> {
  await using server = await startNats();
  const connection = await connect({ nats: { servers: server.url } });
  await (await planService(connection, BenchService)).apply();
  const service = bindService(BenchService);
  const name = "EchoOrderDurably";
  await fill(connection.nats, service.prefix, name, count);
  const operator = createOperator(connection, BenchService);
  const middle = `invoice-${Math.floor(count / 2) - (Math.floor(count / 2) % 100) + 2}`;
  const page = (filter: CallFilter) => async () => (await operator.listCalls(filter)).calls.length;
  /** Looks through all pages, and returns how many messages that were. */
  const all = (filter: CallFilter) => async () => {
    let looked = 0;
    for (let pageToken: string | undefined; ; ) {
      const found = await operator.listCalls(filter, { pageToken });
      looked += found.looked;
      pageToken = found.nextPageToken;
      if (!pageToken) {
        return looked;
      }
    }
  };
  const asks: [string, () => Promise<number>][] = [
    ["all, first page of 100", page({})],
    ["queued", page({ states: ["queued"] })],
    ["failed", page({ states: ["failed"] })],
    ["succeeded, of an owner", page({ states: ["succeeded"], owner: "acme" })],
    ["canceled, a tenth of a percent", page({ states: ["cancelled"] })],
    ["an id, of any method and owner", page({ callId: middle })],
    ["the beginning of an old id", page({ callIdPrefix: "invoice-77" })],
    ["a text that the newest have", page({ contains: "analytical engine" })],
    ["a text that none has, a page", page({ contains: "nobody" })],
    ["a text that none has, of all", all({ contains: "nobody" })],
    ["counts, of 20,000 headers", async () => (await operator.countCalls()).length],
    [
      "counts of all that is kept",
      async () => {
        const all = await operator.countCalls({
          windowMs: Number.POSITIVE_INFINITY,
          maxEntries: Number.POSITIVE_INFINITY,
        });
        return all.reduce((sum, { recent }) => sum + recent.succeeded, 0);
      },
    ],
    [
      "the story of a failed call",
      async () => (await operator.showCall({ method: name, callId: middle })).attempts.length,
    ],
  ];
  const rows: string[][] = [];
  const used = () => {
    const { inMsgs, inBytes, outMsgs } = connection.nats.stats();
    const { user, system } = process.cpuUsage();
    return [outMsgs, inMsgs, inBytes, user + system, readCpu(server.pid)];
  };
  for (const [what, ask] of asks) {
    const times: number[] = [];
    let found = 0;
    const before = used();
    for (let round = 0; round < rounds; round++) {
      const beganAt = performance.now();
      found = await ask();
      times.push(performance.now() - beganAt);
    }
    const sorted = [...times].sort((one, other) => one - other);
    const median = sorted[Math.floor(rounds / 2)] ?? 0;
    const costs = used().map((each, index) => {
      const unit = index < 2 ? 1 : 1_000;
      return `${round3((each - (before[index] ?? 0)) / rounds / unit)}`;
    });
    const [first = 0] = times;
    rows.push([`${count}`, what, `${found}`, `${round3(first)}`, `${round3(median)}`, ...costs]);
  }
  const { heapUsed, rss } = process.memoryUsage();
  console.error(`${count}: heap ${round3(heapUsed / 1e6)} MB, process ${round3(rss / 1e6)} MB`);
  await connection.close();
  return rows;
}

await runCommand(usage, async () => {
  const { values } = parseArgs({
    options: { calls: { type: "string" }, rounds: { type: "string" } },
  });
  const rounds = readNumber("rounds", values.rounds ?? "5");
  const times = ["first, ms", "median, ms"];
  const costs = ["requests", "messages", "KB", "client CPU, ms", "server CPU, ms"];
  const rows: string[][] = [["calls", "asked for", "found", ...times, ...costs]];
  for (const count of readNumbers("calls", values.calls ?? "100000,1000000")) {
    rows.push(...(await measure(count, rounds)));
  }
  console.log(formatColumns(rows));
});
