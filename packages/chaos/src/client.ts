// A client of the attack. It tells of every call that was accepted, and of every
// answer that is not as it has to be.
import { setTimeout as delay } from "node:timers/promises";
import {
  type Call,
  Code,
  ConnectError,
  createClient,
  type SubmitOptions,
  type Submitted,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { Conversions } from "./conversions.js";
import { ask } from "./direct-calls.js";
import { follow } from "./follow.js";
import { Journal } from "./journal.js";
import { type CallKind, callKinds, type Plan } from "./kinds.js";
import { noteMemory } from "./memory.js";
import type { Accepted } from "./message.js";
import { pace } from "./pace.js";
import { Random } from "./random.js";
import { say } from "./say.js";
import { type ChaosClient, serviceFor } from "./service.js";

const {
  CHAOS_NODES,
  CHAOS_SEED,
  CHAOS_NAME,
  CHAOS_RATE,
  CHAOS_CLIENTS,
  CHAOS_KINDS = "",
  CHAOS_JOURNAL = "",
  CHAOS_UPLOADS = "[]",
} = process.env;
const random = new Random(Number(CHAOS_SEED));
const journal = new Journal(CHAOS_JOURNAL);
const wanted = new RegExp(CHAOS_KINDS);

/** Submissions that may be under way: a server that is down for long makes it wait. */
const mostUnderWay = 1_500;

/** Codes with which a call may be refused: servers cannot be reached, or have no room. */
const refusals = [Code.Unavailable, Code.DeadlineExceeded, Code.ResourceExhausted];

let next = 0;
let isStopping = false;
let underWay = 0;
let followers = 0;

const newId = () => `${CHAOS_NAME}-${next++}`;

/** The shape that all methods of the service share. */
interface AnyMethod {
  submit(request: Plan["request"], options: SubmitOptions): Promise<Call>;
  submitAll(
    requests: Iterable<Plan["request"]>,
    options: (request: unknown, index: number) => SubmitOptions,
  ): AsyncIterable<Submitted<Call>>;
}

async function connected(): Promise<ChaosClient> {
  for (;;) {
    try {
      return createClient<ChaosClient>(serviceFor(Number(CHAOS_NODES)), await connect());
    } catch {
      await delay(200);
    }
  }
}

function methodOf(plan: Plan): AnyMethod {
  const name = plan.expected.method.toLowerCase() as keyof ChaosClient;
  return client[name] as unknown as AnyMethod;
}

/** Makes calls of one kind, all at once. */
async function make(kind: CallKind, count: number): Promise<void> {
  const byMethod = new Map<string, Plan[]>();
  for (let index = 0; index < count; index++) {
    const plan = kind.plan(random);
    const options = random.chance(0.5) ? { ...plan.options, callId: newId() } : plan.options;
    const plans = byMethod.get(plan.expected.method) ?? [];
    byMethod.set(plan.expected.method, plans);
    plans.push({ ...plan, options });
  }
  await Promise.all([...byMethod.values()].map((plans) => submit(plans)));
}

async function submit(plans: readonly Plan[]): Promise<void> {
  underWay += plans.length;
  let index = 0;
  const submitted = methodOf(plans[0] as Plan).submitAll(
    plans.map(({ request }) => request),
    (_, index) => plans[index]?.options ?? {},
  );
  for await (const { call, error } of submitted) {
    const plan = plans[index++] as Plan;
    underWay--;
    if (call) {
      const accepted = { ...plan.expected, callId: call.id };
      journal.say({ accepted });
      void goOn(plan, call, accepted).catch((error) => say("a call was left", { error }));
    } else {
      refused(plan, error);
    }
  }
}

function refused({ isImpossible, expected }: Plan, error: ConnectError): void {
  say("a call was not made", { error });
  const { code, message } = error;
  if (!refusals.includes(code) && !(isImpossible && code === Code.InvalidArgument)) {
    const call = { method: expected.method, callId: "refused" };
    journal.say({ wrong: `was refused with a code that does not say why: ${message}`, call });
  }
}

/** Does with an accepted call what clients do. */
async function goOn(plan: Plan, call: Call, accepted: Accepted): Promise<void> {
  const { cancelAfterMs } = plan;
  if (cancelAfterMs !== undefined) {
    await delay(cancelAfterMs);
    await call.cancel();
  }
  if (plan.options.callId && random.chance(0.02)) {
    const again = await methodOf(plan).submit(plan.request, plan.options);
    if (again.id !== call.id) {
      journal.say({ wrong: `became ${again.id} when it was submitted again`, call: accepted });
    }
  }
  if (random.chance(accepted.isObject ? 0.6 : 0.05)) {
    await check(accepted);
  }
}

async function check(accepted: Accepted): Promise<void> {
  const call = { method: accepted.method, callId: accepted.callId };
  followers++;
  const wrong = await follow(client, accepted);
  followers--;
  if (wrong) {
    journal.say({ wrong, call });
  } else if (accepted.isObject) {
    journal.say({ read: call });
  }
}

async function convert(conversions: Conversions): Promise<void> {
  while (!isStopping) {
    try {
      const accepted = await conversions.make();
      if (random.chance(0.6)) {
        await check(accepted);
      }
    } catch (error) {
      say("a conversion was not made", { error: ConnectError.from(error) });
    }
    await delay(random.between(0, 2_000));
  }
}

async function askAll(): Promise<void> {
  while (!isStopping) {
    const wrong = await ask(client, random);
    if (wrong) {
      journal.say({ wrong, call: { method: "Ask", callId: "direct" } });
    }
    await delay(random.between(0, 1_000));
  }
}

process.on("disconnect", () => process.exit());
process.on("message", () => {
  isStopping = true;
});
say("started", { name: CHAOS_NAME });
noteMemory(journal);
const client = await connected();
journal.say({ ready: true });

const conversions = new Conversions(client, random, journal, newId, JSON.parse(CHAOS_UPLOADS));
const loops = [
  ...(wanted.test("conversion") ? [convert(conversions), convert(conversions)] : []),
  ...(wanted.test("direct") ? [askAll()] : []),
];
const kinds = callKinds.filter(({ name }) => wanted.test(name));
for await (const due of pace(kinds, Number(CHAOS_RATE), Number(CHAOS_CLIENTS))) {
  if (isStopping) {
    break;
  }
  for (const { kind, count } of underWay < mostUnderWay ? due : []) {
    void make(kind, count);
  }
}
await Promise.all(loops);
while (underWay + followers > 0) {
  await delay(100);
}
process.exit();
