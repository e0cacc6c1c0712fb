// A client of the attack. It tells of every call that was accepted, and of every
// answer that is not as it has to be.
import { setTimeout as delay } from "node:timers/promises";
import {
  blobOf,
  type Call,
  Code,
  ConnectError,
  createClient,
  openBlob,
  type SubmitOptions,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { digestOf, fileOf, turned } from "./content.js";
import { Kind } from "./gen/chaos/v1/chaos_pb.js";
import type { Accepted, FromClient, Upload } from "./message.js";
import { Random } from "./random.js";
import { say } from "./say.js";
import { type ChaosClient, serviceFor } from "./service.js";

const { CHAOS_NODES, CHAOS_SEED, CHAOS_NAME, CHAOS_PAUSE_MS, CHAOS_UPLOADS } = process.env;
const random = new Random(Number(CHAOS_SEED));
const service = serviceFor(Number(CHAOS_NODES));
const pauseMs = Number(CHAOS_PAUSE_MS);
let next = 0;
let isStopping = false;

/** Resolves when the last thing told has left this process. */
let told: Promise<unknown> = Promise.resolve();

function tell(message: FromClient): void {
  told = new Promise((resolve) => process.send?.(message, undefined, undefined, resolve));
}

process.on("disconnect", () => process.exit());
process.on("message", () => {
  isStopping = true;
});

const kinds = [
  ...Array<Kind>(20).fill(Kind.QUICK),
  ...Array<Kind>(6).fill(Kind.SLOW),
  Kind.FLAKY,
  Kind.FLAKY,
  Kind.BAD,
  Kind.DEADLY,
  Kind.BLOCKING,
];

async function connected(): Promise<ChaosClient> {
  for (;;) {
    try {
      return createClient<ChaosClient>(service, await connect());
    } catch {
      await delay(200);
    }
  }
}

/** A call to make, and what has to come of it. */
interface Plan {
  readonly expected: Expected;
  readonly options: SubmitOptions;
  submit(): Promise<Call>;
}

/** An accepted call before it has its id. */
type Expected = Accepted extends infer A ? (A extends Accepted ? Omit<A, "callId"> : never) : never;

function chooseOptions(): SubmitOptions {
  const callId = `${CHAOS_NAME}-${next++}`;
  return {
    ...(random.chance(0.7) && { callId }),
    ...(random.chance(0.05) && { notBefore: new Date(Date.now() + random.between(100, 2000)) }),
  };
}

function planShortCall(client: ChaosClient): Plan {
  const options = chooseOptions();
  const value = random.between(0, 2 ** 30);
  const isStream = random.chance(0.2);
  const kind = random.pick(kinds);
  const milliseconds = random.between(1, kind === Kind.SLOW ? 500 : 1000);
  const messages = random.between(0, 40);
  return isStream
    ? {
        expected: { method: "Count", messages },
        options,
        submit: () => client.count.submit({ messages, milliseconds: 5 }, options),
      }
    : {
        expected: { method: "Work", value, fails: kind === Kind.BAD },
        options,
        submit: () => client.work.submit({ kind, value, milliseconds }, options),
      };
}

async function planConversion(client: ChaosClient, unfinished?: Upload): Promise<Plan> {
  const options = unfinished ? { callId: unfinished.callId } : chooseOptions();
  const { kind, milliseconds, seed, size } = unfinished ?? {
    kind: random.pick(kinds),
    milliseconds: random.between(1, 500),
    seed: random.between(0, 2 ** 30),
    size: random.between(1, 600_000),
  };
  // Who is killed shall have something half done.
  const pauseMs = random.between(0, 60);
  async function* open() {
    for (const piece of fileOf(seed, size)) {
      await delay(pauseMs);
      yield piece;
    }
  }
  const isRereadable = random.chance(0.7);
  const { callId } = options;
  return {
    expected: {
      method: "Convert",
      digest: await digestOf(turned(fileOf(seed, size))),
      fails: kind === Kind.BAD,
    },
    options,
    async submit() {
      const uploads = callId !== undefined && { callId, kind, milliseconds, seed, size };
      if (uploads) {
        tell({ uploads, isDone: false });
      }
      const file = blobOf(isRereadable ? open : open());
      const call = await client.convert.submit({ kind, milliseconds, file }, options);
      if (uploads) {
        tell({ uploads, isDone: true });
      }
      return call;
    },
  };
}

async function make(client: ChaosClient, { expected, options, submit }: Plan): Promise<void> {
  const again = random.chance(0.1);
  const wants = random.next();
  const call = await submit();
  const accepted: Accepted = { ...expected, callId: call.id };
  tell({ accepted });
  say("accepted", { callId: call.id });
  if (again && options.callId) {
    await submit();
  }
  if (wants < 0.05) {
    const isCanceled = await call.cancel();
    say("cancelled", { callId: call.id, isCanceled });
  } else if (wants < 0.6) {
    await follow(client, accepted);
  }
}

/** Comes back to a call by its id, and checks what it answers. */
async function follow(client: ChaosClient, call: Accepted): Promise<void> {
  const wrong = (what: string) => tell({ wrong: `${call.callId} ${what}`, call });
  try {
    if (call.method === "Work") {
      const { value } = await client.work.attach(call.callId).result();
      if (value !== call.value || call.fails) {
        wrong(`answered ${value}`);
      }
    } else if (call.method === "Convert") {
      const { file } = await client.convert.attach(call.callId).result();
      const digest = file && (await digestOf(openBlob(file)));
      if (digest !== call.digest || call.fails) {
        wrong(`gave a file with ${digest}, not ${call.digest}`);
      }
      tell({ read: call });
    } else {
      await followStream(client, call, wrong);
    }
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    say("ended with an error", { callId: call.callId, error: rawMessage });
    if (code === Code.NotFound || code === Code.DataLoss) {
      wrong(`: ${rawMessage}`);
    }
  }
}

async function followStream(
  client: ChaosClient,
  { callId, messages }: Accepted & { method: "Count" },
  wrong: (what: string) => void,
): Promise<void> {
  let seen = 0;
  for await (const { index } of client.count.attach(callId)) {
    if (index !== seen++) {
      wrong(`gave message ${index} in place of ${seen - 1}`);
      return;
    }
  }
  if (seen !== messages) {
    wrong(`gave ${seen} of ${messages} messages`);
  }
}

async function loop(longestMs: number, once: () => Promise<void>): Promise<void> {
  while (!isStopping) {
    await once().catch((error) => say("a call was not made", { error }));
    await delay(random.between(0, longestMs));
  }
}

say("started", { name: CHAOS_NAME });
const client = await connected();
// What a client uploaded that was killed is gone on with.
const halfDone: Upload[] = JSON.parse(CHAOS_UPLOADS ?? "[]");
await Promise.all([
  ...Array.from({ length: 8 }, () => loop(2 * pauseMs, () => make(client, planShortCall(client)))),
  // No more than the servers have room for.
  ...Array.from({ length: 3 }, () =>
    loop(20 * pauseMs, async () => make(client, await planConversion(client, halfDone.pop()))),
  ),
]);
await told;
process.exit();
