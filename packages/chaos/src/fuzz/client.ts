// The client that is fuzzed: it calls all the time, over two connections. Nothing that
// belongs to the first one is forged, so what it gets must be right. The second one
// may get anything, but it must come.
import { setTimeout as delay } from "node:timers/promises";
import {
  type Blob,
  blobOf,
  type CallOptions,
  Code,
  ConnectError,
  createClient,
  openBlob,
  type SubmitOptions,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { FuzzService } from "../gen/fuzz/v1/fuzz_pb.js";
import { Random } from "../random.js";
import { say } from "../say.js";
import { reportHealth, type Told } from "./report-health.js";
import type { FuzzClient } from "./service.js";

/** How long a call may take, in ms. */
const callLimitMs = 8_000;

/** How long after its limit it may end, in ms: the machine may be busy. */
const slackMs = 20_000;

/** Loops on each connection. */
const loops = 6;

const random = new Random(Number(process.env["FUZZ_SEED"]));
const outcomes: Record<string, number> = {};
let nextId = 0;
let isOver = false;

function tell(told: Told): void {
  process.send?.(told);
}

/** One call, and what is wrong with its answer. */
type Act = (client: FuzzClient) => Promise<string | undefined>;

const item = () => {
  const number = random.between(0, 2 ** 30);
  return { number, text: `item ${number}`, milliseconds: random.between(0, 5) };
};

const options = (): CallOptions => ({
  timeoutMs: callLimitMs,
  ...(random.chance(0.2) && { headers: { "x-fuzz": "well formed" } }),
});

/** Options of a durable call. */
function submission(): SubmitOptions {
  return {
    ...(random.chance(0.6) && { callId: `${process.pid}-${nextId++}` }),
    ...(random.chance(0.05) && { notBefore: new Date(Date.now() + random.between(1, 500)) }),
    ...(random.chance(0.2) && { headers: { "x-fuzz": "well formed" } }),
  };
}

const wait = { timeoutMs: callLimitMs };

function compare(got: unknown, wanted: unknown): string | undefined {
  return got === wanted ? undefined : `answered ${got}, not ${wanted}`;
}

async function* each<T>(values: readonly T[]) {
  yield* values;
}

async function collect(from: AsyncIterable<{ number: number }>, wanted: readonly number[]) {
  const got: number[] = [];
  for await (const { number } of from) {
    got.push(number);
  }
  return compare(got.join(" "), wanted.join(" "));
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

async function sizeOf(file: Blob | undefined): Promise<number> {
  let size = 0;
  for await (const piece of file ? openBlob(file) : []) {
    size += piece.length;
  }
  return size;
}

const direct: Record<string, Act> = {
  async echo(client) {
    const sent = item();
    return compare((await client.echo(sent, options())).number, sent.number);
  },
  async limited(client) {
    const sent = item();
    return compare((await client.limited(sent, options())).number, sent.number);
  },
  async large(client) {
    const sent = { ...item(), text: "x".repeat(random.between(1, 400_000)) };
    return compare((await client.echo(sent, options())).text.length, sent.text.length);
  },
  async failing(client) {
    const code = random.between(1, 16);
    try {
      await client.echo({ text: "fails", code }, options());
      return "succeeded, and had to fail";
    } catch (error) {
      const got = ConnectError.from(error);
      return got.code === code || isPassing(got) ? undefined : `failed with ${got}`;
    }
  },
  async count(client) {
    const number = random.between(0, 30);
    return await collect(client.count({ number, text: "counts" }, options()), upTo(number));
  },
  async sum(client) {
    const sent = upTo(random.between(0, 30)).map((number) => ({ number }));
    const { number } = await client.sum(each(sent), options());
    return compare(
      number,
      sent.reduce((all, { number }) => all + number, 0),
    );
  },
  async chat(client) {
    const sent = upTo(random.between(0, 30));
    return await collect(client.chat(each(sent.map((number) => ({ number }))), options()), sent);
  },
  async abandoned(client) {
    const sent = upTo(30).map((number) => ({ number, milliseconds: 5 }));
    for await (const { number } of client.chat(each(sent), options())) {
      return compare(number, 0);
    }
    return "ended without a message";
  },
};

const durable: Record<string, Act> = {
  async work(client) {
    const sent = item();
    const call = await client.work.submit(sent, submission());
    if (random.chance(0.3)) {
      await call.status();
    }
    return compare((await client.work.attach(call.id).result(wait)).number, sent.number);
  },
  async progress(client) {
    const call = await client.work.submit(item(), submission());
    let reports = 0;
    for await (const { total } of call.progress()) {
      reports++;
      if (total !== 2 && total !== 0) {
        return `reported a total of ${total}`;
      }
    }
    return reports > 5 ? `reported ${reports} times` : undefined;
  },
  async cancel(client) {
    const call = await client.work.submit(item(), submission());
    await call.cancel();
    await call.result(wait).catch((error) => {
      if (ConnectError.from(error).code !== Code.Canceled) {
        throw error;
      }
    });
    return undefined;
  },
  async list(client) {
    const number = random.between(0, 30);
    const call = await client.list.submit({ number, text: "lists" }, submission());
    return await collect(client.list.attach(call.id), upTo(number));
  },
  async store(client) {
    const size = random.between(0, 200_000);
    const call = await client.store.submit(
      { file: blobOf(new Uint8Array(size)), text: "stored" },
      submission(),
    );
    const { file, text } = await call.result(wait);
    return compare(`${text} ${await sizeOf(file)}`, `stored ${size}`);
  },
  async rank(client) {
    const sent = item();
    const priority = random.pick(["high", "normal", "low"] as const);
    const call = await client.rank.submit(sent, { ...submission(), priority });
    return compare((await call.result(wait)).number, sent.number);
  },
};

/** True when a busy worker explains an error. */
function isPassing({ code }: ConnectError): boolean {
  return (
    code === Code.DeadlineExceeded || code === Code.Unavailable || code === Code.ResourceExhausted
  );
}

/** Makes one call, and tells of an answer that it must not have. */
async function call(client: FuzzClient, isForged: boolean): Promise<void> {
  const isDurable = random.chance(0.3);
  const acts = isDurable ? durable : direct;
  const name = random.pick(Object.keys(acts));
  const act = acts[name] as Act;
  let outcome = "right";
  const late = setTimeout(() => {
    tell({ wrong: `${name} has not ended after ${callLimitMs + slackMs} ms` });
  }, callLimitMs + slackMs);
  // Not every wait has a limit of its own.
  const over = delay(callLimitMs + slackMs / 2, "gave up", { ref: false });
  const acting = act(client);
  try {
    const wrong = await (isDurable ? Promise.race([acting, over]) : acting);
    if (wrong === "gave up") {
      outcome = wrong;
      acting.catch(() => undefined);
    } else if (wrong !== undefined) {
      outcome = "wrong";
      if (!isForged) {
        tell({ wrong: `${name} ${wrong}` });
      }
    }
  } catch (error) {
    if (!(error instanceof ConnectError)) {
      const text = error instanceof Error ? error.stack : String(error);
      tell({ wrong: `${name} failed with what is no ConnectError: ${text}` });
    }
    const failure = ConnectError.from(error);
    outcome = Code[failure.code] ?? `code ${failure.code}`;
    say("failed", { name, isForged, error: failure.message });
    if (!isForged && !isDurable && !isPassing(failure)) {
      tell({ wrong: `${name} failed: ${failure.message}` });
    }
  } finally {
    clearTimeout(late);
    const key = `${isForged ? "forged" : "clean"} ${isDurable ? "durable" : "direct"} ${outcome}`;
    outcomes[key] = (outcomes[key] ?? 0) + 1;
  }
}

async function loop(client: FuzzClient, isForged: boolean): Promise<void> {
  while (!isOver) {
    await call(client, isForged);
    await delay(random.between(0, 20));
  }
}

reportHealth(() => ({ outcomes }));
const clean = await connect({ inboxPrefix: "_INBOX_CLEAN", owner: "clean" });
const forged = await connect({ inboxPrefix: "_INBOX_OPEN" });
// Says that what was sent to its inbox before is taken.
forged.nats.subscribe("fuzz.client.ping", {
  callback: (_error, message) => void message.respond(),
});
const clients = [
  { client: createClient<FuzzClient>(FuzzService, clean), isForged: false },
  { client: createClient<FuzzClient>(FuzzService, forged), isForged: true },
];
process.on("message", () => {
  isOver = true;
});
tell({ isReady: true });
await Promise.all(
  clients.flatMap(({ client, isForged }) =>
    Array.from({ length: loops }, () => loop(client, isForged)),
  ),
);
tell({ isQuiet: true });
