// A client of the attack. It tells of every call that was accepted, and of every
// answer that is not as it has to be.
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { Kind } from "./gen/chaos/v1/chaos_pb.js";
import type { Accepted, FromClient } from "./message.js";
import { Random } from "./random.js";
import { type ChaosClient, serviceFor } from "./service.js";

const { CHAOS_NODES, CHAOS_SEED, CHAOS_NAME, CHAOS_PAUSE_MS } = process.env;
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

async function one(client: ChaosClient): Promise<void> {
  const name = `${CHAOS_NAME}-${next++}`;
  const options = {
    ...(random.chance(0.7) && { callId: name }),
    ...(random.chance(0.05) && { notBefore: new Date(Date.now() + random.between(100, 2000)) }),
  };
  const value = random.between(0, 2 ** 30);
  const isStream = random.chance(0.2);
  const kind = random.pick(kinds);
  const milliseconds = random.between(1, kind === Kind.SLOW ? 500 : 1000);
  const messages = random.between(0, 40);
  const again = random.chance(0.1);
  const wants = random.next();
  const request = { kind, value, milliseconds };
  const submit = () =>
    isStream
      ? client.count.submit({ messages, milliseconds: 5 }, options)
      : client.work.submit(request, options);
  const call = await submit();
  const accepted: Accepted = isStream
    ? { method: "Count", callId: call.id, messages }
    : { method: "Work", callId: call.id, value, fails: kind === Kind.BAD };
  tell({ accepted });
  if (again && options.callId) {
    await submit();
  }
  if (wants < 0.05) {
    await call.cancel();
  } else if (wants < 0.6) {
    await follow(client, accepted);
  }
}

/** Comes back to a call by its id, and checks what it answers. */
async function follow(client: ChaosClient, call: Accepted): Promise<void> {
  try {
    if (call.method === "Work") {
      const { value } = await client.work.attach(call.callId).result();
      if (value !== call.value || call.fails) {
        tell({ wrong: `${call.callId} answered ${value}` });
      }
      return;
    }
    let seen = 0;
    for await (const { index } of client.count.attach(call.callId)) {
      if (index !== seen++) {
        tell({ wrong: `${call.callId} gave message ${index} in place of ${seen - 1}` });
        return;
      }
    }
    if (seen !== call.messages) {
      tell({ wrong: `${call.callId} gave ${seen} of ${call.messages} messages` });
    }
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    if (code === Code.NotFound || code === Code.DataLoss) {
      tell({ wrong: `${call.callId}: ${rawMessage}` });
    }
  }
}

async function loop(client: ChaosClient): Promise<void> {
  while (!isStopping) {
    await one(client).catch(() => undefined);
    await delay(random.between(0, 2 * pauseMs));
  }
}

const client = await connected();
await Promise.all(Array.from({ length: 8 }, () => loop(client)));
await told;
process.exit();
