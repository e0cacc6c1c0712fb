import { create, toBinary } from "@bufbuild/protobuf";
import { connect } from "@jetrpc/runtime/node";
import { type CallFilter, createOperator, planService } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { startNats } from "@jetrpc/testing";
import { createInbox, type MsgHdrs, headers as makeHeaders } from "@nats-io/nats-core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RequestSchema, TestService } from "./gen/test/v1/test_pb.js";
import { collect, until, useNats } from "./support.js";

const nats = useNats();
const service = bindService(TestService);
const { prefix, stream } = service;

/** Calls of one list, and one. */
const maxCalls = 21;

/** A server with the streams of the service and nothing in them, and what writes to them. */
async function stage() {
  const connection = await nats.connect({ as: "root" });
  await (await planService(connection, TestService)).apply();
  const ask = async (subject: string, payload: string | Uint8Array, headers?: MsgHdrs) => {
    const reply = await connection.nats.request(subject, payload, {
      timeout: 60_000,
      ...(headers && { headers }),
    });
    const answer = reply.json<{ error?: unknown }>();
    expect(answer.error, subject).toBeUndefined();
  };
  const empty = async () => {
    for (const name of [stream, service.logStream, service.deadStream, service.laterStream]) {
      await ask(`$JS.API.STREAM.PURGE.${name}`, "");
    }
  };
  return { connection, ask, empty, operator: createOperator(connection, TestService) };
}

function block(lines: Record<string, string | number>): MsgHdrs {
  const headers = makeHeaders();
  for (const [name, value] of Object.entries(lines)) {
    headers.set(name, `${value}`);
  }
  return headers;
}

const ends = ["succeeded", "cancelled", "expired"] as const;

const someCall = fc.record({
  state: fc.constantFrom("scheduled", "queued", "running", "retrying", "failed", ...ends),
  method: fc.constantFrom("Do", "Picky", "Urgent"),
  owner: fc.constantFrom("acme", "a", "_"),
  idPrefix: fc.constantFrom("x", "y", "xy"),
  /** Messages of its log before the last one. */
  entries: fc.integer({ min: 0, max: 3 }),
});

const someFilter = fc.record(
  {
    states: fc.subarray([
      ...(["scheduled", "queued", "running", "retrying", "failed", ...ends] as const),
    ]),
    method: fc.constantFrom("Do", "Picky", "Urgent"),
    owner: fc.constantFrom("acme", "a", "_"),
    callIdPrefix: fc.constantFrom("x", "xy", "x-1"),
  },
  { requiredKeys: [] },
);

type SomeCall = typeof someCall extends fc.Arbitrary<infer T> ? T : never;

test("pages of any size have each call that stays as it is exactly once, and no other one twice", async () => {
  const { connection, ask, empty, operator } = await stage();
  /** Writes what clients and workers would have written. */
  const store = async ({ state, method, owner, entries }: SomeCall, id: string) => {
    const call = `${method}.${owner}._.${id}`;
    const log = (entry: string, more = {}) =>
      ask(`${prefix}.log.${call}.entry`, "", block({ "Jetrpc-Entry": entry, ...more }));
    for (let n = 0; n < entries && state !== "queued" && state !== "scheduled"; n++) {
      await log(n === 0 ? "attempt 1 1 1" : "message 1");
    }
    const error = { "Nats-Service-Error-Code": 3, "Nats-Service-Error": "no" };
    if (state === "scheduled") {
      const at = new Date(Date.now() + 3_600_000).toISOString();
      const target = `${prefix}.due.queue.${call}`;
      const when = { "Nats-Schedule": `@at ${at}`, "Nats-Schedule-Target": target };
      await ask(`${prefix}.later.${call}`, "", block(when));
    } else if (state === "failed") {
      await log("end 1 failed", error);
      await ask(`${prefix}.dead.${call}`, "", block({ ...error, "Jetrpc-Attempts": 1 }));
    } else if (state === "queued" || state === "running" || state === "retrying") {
      await ask(`${prefix}.queue.${call}`, "");
      if (state !== "queued") {
        await log(state === "running" ? "attempt 2 1 2" : "retry 1", { "Jetrpc-Delay-Ms": 1 });
      }
    } else {
      await log(`end 1 ${state}`);
    }
  };
  /** Gives all that is queued to a worker: one that runs was. */
  const deliver = async () => {
    const durable = [...service.methods.values()].filter(({ delivery }) => delivery === "durable");
    for (const { consumer } of durable.flatMap(({ queues }) => queues)) {
      const next = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
      const inbox = createInbox();
      const answers = connection.nats.subscribe(inbox);
      connection.nats.publish(next, JSON.stringify({ batch: maxCalls, no_wait: true }), {
        reply: inbox,
      });
      for await (const { subject } of answers) {
        // Requests keep their own subject; what comes on this one says that there are no more.
        if (subject === inbox) {
          break;
        }
      }
    }
  };
  /** Removes a call that waits or failed, as its end or an operator does. */
  const leave = async ({ state, method, owner }: SomeCall, id: string) => {
    const call = `${method}.${owner}._.${id}`;
    const purge = (name: string, place: string) =>
      ask(`$JS.API.STREAM.PURGE.${name}`, JSON.stringify({ filter: `${prefix}.${place}.${call}` }));
    if (state === "failed") {
      await purge(service.deadStream, "dead");
    } else if (!(ends as readonly string[]).includes(state)) {
      await ask(`${prefix}.log.${call}.entry`, "", block({ "Jetrpc-Entry": "end 1 cancelled" }));
      await (state === "scheduled" ? purge(service.laterStream, "later") : purge(stream, "queue"));
    }
  };
  const fits = (call: SomeCall, id: string, filter: CallFilter) =>
    (!filter.states?.length || filter.states.includes(call.state)) &&
    call.method === (filter.method ?? call.method) &&
    call.owner === (filter.owner ?? call.owner) &&
    id.startsWith(filter.callIdPrefix ?? "");
  await fc.assert(
    fc.asyncProperty(
      fc.array(someCall, { maxLength: maxCalls - 1 }),
      someFilter,
      fc.integer({ min: 1, max: 15 }),
      fc.array(fc.oneof(someCall, fc.nat({ max: maxCalls - 1 })), { maxLength: 8 }),
      async (calls, filter, pageSize, meanwhile) => {
        await empty();
        const ids = calls.map(({ idPrefix }, index) => `${idPrefix}-${index}`);
        await Promise.all(calls.map((call, index) => store(call, ids[index] as string)));
        await deliver();
        const left = new Set<string>();
        const listed: string[] = [];
        for (let pageToken: string | undefined, pages = 0; pages === 0 || pageToken; pages++) {
          const page = await operator.listCalls(filter, { pageSize, pageToken });
          expect(page.calls.length).toBeLessThanOrEqual(pageSize);
          listed.push(...page.calls.map(({ callId }) => callId));
          pageToken = page.nextPageToken;
          const event = meanwhile[pages];
          if (typeof event === "object") {
            await store(event, `x-new-${pages}`);
          } else if (event !== undefined && calls[event] && !left.has(ids[event] as string)) {
            left.add(ids[event] as string);
            await leave(calls[event], ids[event] as string);
          }
        }
        const mayBe = new Set(ids.filter((id, n) => fits(calls[n] as SomeCall, id, filter)));
        const mustBe = [...mayBe].filter((id) => !left.has(id));
        expect(listed.filter((id) => !left.has(id)).sort()).toEqual(mustBe.sort());
        expect(new Set(listed).size).toBe(listed.length);
        expect(listed.filter((id) => !mayBe.has(id))).toEqual([]);
      },
    ),
    { numRuns: 12 },
  );
});

test("a server that stands still while it is read is not taken for one that has no more", async () => {
  const { connection, ask, empty, operator } = await stage();
  await empty();
  const count = 1_500;
  // Long headers: the server is in the middle of a batch when the first ones come.
  const lines = block({ "Jetrpc-Entry": "end 1 succeeded", "x-filler": "x".repeat(30_000) });
  for (let n = 0; n < count; n++) {
    const subject = `${prefix}.log.Do._._.s-${n}.entry`;
    if (n % 100 === 99) {
      await ask(subject, "", lines);
    } else {
      connection.nats.publish(subject, "", { headers: lines });
    }
  }
  const before = connection.nats.stats().inBytes;
  const listing = collect(operator.calls({ states: ["succeeded"] }));
  let stops = 0;
  // Each time the server has sent a part of what was asked for.
  for (const bytes of [3e6, 12e6]) {
    await until(async () => connection.nats.stats().inBytes - before > bytes);
    process.kill(nats.server.pid, "SIGSTOP");
    stops++;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    process.kill(nats.server.pid, "SIGCONT");
  }
  expect(stops).toBe(2);
  expect(new Set((await listing).map(({ callId }) => callId)).size).toBe(count);
});

test("a token that was forged, or a gap in a stream, costs few requests", async () => {
  const { connection, empty, operator } = await stage();
  await empty();
  const { nats: root } = connection;
  const count = 20_000;
  const payload = toBinary(RequestSchema, create(RequestSchema, { text: "needle" }));
  for (let index = 0; index < count; index++) {
    root.publish(`${prefix}.queue.Do.acme._.gap-${index}`, payload);
  }
  await root.flush();
  const filter: CallFilter = { states: ["queued"], contains: "needle" };
  await until(async () => {
    const info = await root.request(`$JS.API.STREAM.INFO.${stream}`);
    return info.json<{ state: { messages: number } }>().state.messages === count;
  });
  const first = await operator.listCalls(filter, { pageSize: 1 });
  const [key, cursors] = JSON.parse(Buffer.from(`${first.nextPageToken}`, "base64url").toString());
  const far = 2 ** 52;
  const forged = { queue: { ...cursors.queue, before: far, top: far } };
  const pageToken = Buffer.from(JSON.stringify([key, forged])).toString("base64url");
  let asked = 0;
  root.subscribe(`$JS.API.DIRECT.GET.${stream}`, {
    callback: () => {
      asked++;
    },
  });
  await root.flush();
  const { calls } = await operator.listCalls(filter, { pageSize: 1, pageToken });
  expect(calls.map(({ callId }) => callId)).toEqual([`gap-${count - 1}`]);
  // A halving for each bit of the number, and what each takes to be sure. It was thousands.
  expect(asked).toBeGreaterThan(10);
  expect(asked).toBeLessThan(300);
});

test("a call id that many owners have is found with all of them, also where requests are large", async () => {
  // A server gives out no more at once than its max_pending.
  await using server = await startNats({ config: "max_pending: 4MB" });
  const connection = await connect({ nats: { servers: server.url } });
  try {
    await (await planService(connection, TestService)).apply();
    const text = "x".repeat(700_000);
    const payload = toBinary(RequestSchema, create(RequestSchema, { text }));
    const owners = Array.from({ length: 12 }, (_, index) => `owner-${index}`);
    for (const owner of owners) {
      await connection.nats.request(`${prefix}.queue.Do.${owner}._.one`, payload);
    }
    const { calls } = await createOperator(connection, TestService).listCalls({ callId: "one" });
    expect(calls.map(({ owner }) => owner).sort()).toEqual(owners.sort());
  } finally {
    await connection.close();
  }
});
