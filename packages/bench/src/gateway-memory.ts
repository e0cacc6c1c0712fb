// `npm run bench:gateway`: what a gateway holds after many calls, and after many followers of
// calls were there at once and were cut off.
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { parseArgs } from "node:util";
import { startNats } from "@jetrpc/testing";
import { Child } from "./child.js";
import type { Held } from "./gateway-process.js";
import type { RunRequest } from "./process.js";
import { formatColumns } from "./report.js";
import { readNumber, runCommand } from "./settings.js";
import { subjects } from "./subjects/index.js";

const usage = `npm run bench:gateway -- [options]
  --calls N        unary calls, 64 at once, in ten parts (default 100000)
  --followers N    followers of calls at once, three times over (default 1000)
  --json FILE      writes the rows as JSON`;

/** What the gateway held, in bytes after a collection, as `--json` writes it. */
interface Row {
  readonly after: string;
  readonly heap: number;
  readonly rss: number;
  /** Subscriptions at the nats-server, those of the worker and the server's own with them. */
  readonly subscriptions: number;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function indexOf(kind: string, name: string): string {
  return `${subjects.findIndex((each) => each.kind === kind && each.name === name)}`;
}

async function measure(
  calls: number,
  followers: number,
  report: (line: string) => void,
): Promise<Row[]> {
  const monitor = await freePort();
  await using nats = await startNats({ config: `http: "127.0.0.1:${monitor}"` });
  const children: Child[] = [];
  const spawn = (name: string, file: string, args: string[], execArgv: string[] = []) => {
    const child = new Child(name, file, args, execArgv);
    children.push(child);
    return child;
  };
  try {
    const direct = indexOf("unary", "jetrpc direct");
    await spawn("worker", "process.js", ["serve", direct, nats.url]).next();
    const gateway = spawn("gateway", "gateway-process.js", [nats.url], ["--expose-gc"]);
    const address = String(await gateway.next());
    const http = indexOf("gateway", "gateway http/1.1");
    const client = spawn("client", "process.js", ["connect", http, nats.url, address]);
    await client.next();

    const subscriptions = async () => {
      const varz = await fetch(`http://127.0.0.1:${monitor}/varz`);
      return ((await varz.json()) as { subscriptions: number }).subscriptions;
    };
    const rows: Row[] = [];
    const held = async () => (await gateway.ask("memory")) as Held;
    const look = async (after: string) => {
      const { heapUsed, rss } = await held();
      const row = { after, heap: heapUsed, rss, subscriptions: await subscriptions() };
      report(JSON.stringify(row));
      rows.push(row);
    };
    const part = Math.ceil(calls / 10);
    const request: RunRequest = { message: "bytes", payloadBytes: 128, inFlight: 64, calls: part };
    for (let done = part; done <= calls; done += part) {
      const reply = (await client.ask(request)) as { error?: string };
      if (reply.error) {
        throw new Error(reply.error);
      }
      await look(`${done} calls`);
    }
    for (let round = 1; round <= 3; round++) {
      const { sockets } = await held();
      const crowd = new Child("followers", "followers-process.js", [address, `${followers}`]);
      await crowd.next();
      await look(`${followers} followers, ${round}`);
      await crowd.stop();
      // It hears of their end a little later, and ends what it did for them.
      const until = performance.now() + 30_000;
      do {
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      } while ((await held()).sockets > sockets && performance.now() < until);
      await look(`they were cut, ${round}`);
    }
    return rows;
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
}

await runCommand(usage, async () => {
  const { values } = parseArgs({
    options: {
      calls: { type: "string" },
      followers: { type: "string" },
      json: { type: "string" },
    },
  });
  const calls = readNumber("calls", values.calls ?? "100000");
  const followers = readNumber("followers", values.followers ?? "1000");
  const rows = await measure(calls, followers, (line) => console.error(line));
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  const lines = rows.map((row) => [row.after, mb(row.heap), mb(row.rss), `${row.subscriptions}`]);
  console.log(formatColumns([["after", "heap MB", "RSS MB", "subscriptions"], ...lines]));
  if (values.json) {
    writeFileSync(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
});
