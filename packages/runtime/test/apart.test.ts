import { create, toBinary } from "@bufbuild/protobuf";
import {
  Code,
  type Connection,
  createClient,
  describeService,
  type Interceptor,
  startWorker,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import type { Grant } from "@jetrpc/runtime/operator";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { headers, type Msg } from "@nats-io/nats-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ResponseSchema, TestService } from "./gen/test/v1/test_pb.js";
import { makeStreams, TestUsers } from "./secured.js";
import { collect, gate, type TestClient, type TestImpl } from "./support.js";

const service = TestService;
const prefix = "test.v1.TestService";
const users = new TestUsers({
  worker: [{ role: "worker", service }],
  rogue: [{ role: "worker", service, methods: ["Two", "Chat"] }],
  acme: [{ role: "client", service, owner: "acme" }],
} satisfies Record<string, Grant[]>);

let server: NatsServer;
let root: Connection;
const open: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await startNats({ config: users.config });
  root = await connect({ nats: { servers: server.url, ...users.options("root") } });
  await makeStreams(root, [TestService]);
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) {
    await close();
  }
});
afterAll(async () => {
  await root?.close();
  await server?.stop();
});

async function as(name: string, interceptors: Interceptor[] = []): Promise<Connection> {
  const owner = name === "acme" ? "acme" : "_";
  const nats = { servers: server.url, ...users.options(name) };
  const connection = await connect({ owner, nats, interceptors });
  open.push(() => connection.close());
  return connection;
}

async function serve(impl: TestImpl) {
  const worker = await startWorker(TestService, impl, await as("worker"));
  open.push(() => worker.drain());
  return worker;
}

/** Serves a method by hand, as somebody who means no good. */
async function serveByHand(subject: string, take: (message: Msg) => void) {
  const { nats } = await as("rogue");
  nats.subscribe(subject, { queue: "q", callback: (_error, message) => take(message) });
  await nats.flush();
  return nats;
}

/** All that is published in the account until it is closed. */
async function tap() {
  const { nats } = await as("root");
  const messages: { subject: string; reply: string | undefined; data: string }[] = [];
  nats.subscribe(">", {
    callback: (_error, message) => {
      messages.push({ subject: message.subject, reply: message.reply, data: message.string() });
    },
  });
  await nats.flush();
  return messages;
}

describe("who is told a reply subject can", () => {
  const forged = toBinary(ResponseSchema, create(ResponseSchema, { text: "forged" }));

  /** Replies to whatever the caller of a request may wait for besides. */
  function forge(reply: string, publish: (subject: string, payload: Uint8Array) => void): number {
    const [last = "", ...rest] = reply.split(".").reverse();
    const stem = rest.reverse().join(".");
    for (let number = Number(last) - 300; number <= Number(last) + 300; number++) {
      if (number !== Number(last)) {
        publish(`${stem}.${number}`, forged);
        publish(`${stem}.${number}.heartbeat`, new Uint8Array(0));
      }
    }
    return Number(last);
  }

  test("not answer requests to other methods, nor what JetStream answers", async () => {
    const running = gate();
    const { opened: answered, open: answer } = gate();
    let begun = 0;
    await serve({
      get: async ({ text }) => {
        begun++;
        if (begun === 50) {
          running.open();
        }
        await answered;
        return { text };
      },
      async *down({ text }) {
        yield { text };
        await answered;
        yield { text };
      },
      do: async ({ text }) => ({ text }),
    });
    const acme = await as("acme");
    const client = createClient<TestClient>(TestService, acme);
    let forgeries = 0;
    const rogue = await serveByHand(`${prefix}.rpc.Two`, (request) => {
      forge(request.reply ?? "", (subject, payload) => {
        forgeries++;
        rogue.publish(subject, payload);
      });
      rogue.publish(request.reply ?? "", forged);
    });
    const get = Promise.all(Array.from({ length: 50 }, (_, i) => client.get({ text: `get ${i}` })));
    const down = collect(client.down({ text: "down" }));
    await running.opened;
    // While they wait, and while JetStream is asked.
    const stored = Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        client.do.submit({ text: `do ${i}` }, { callId: `apart-${i}` }),
      ),
    );
    for (let i = 0; i < 20; i++) {
      expect((await client.two({})).text).toBe("forged");
    }
    const calls = await stored;
    answer();
    expect(forgeries).toBeGreaterThan(10_000);
    expect((await get).map(({ text }) => text)).toEqual(
      Array.from({ length: 50 }, (_, i) => `get ${i}`),
    );
    expect((await down).map(({ text }) => text)).toEqual(["down", "down"]);
    const results = await Promise.all(calls.map((call) => call.result()));
    expect(results.map(({ text }) => text)).toEqual(results.map((_, i) => `do ${i}`));
  });

  test("not hold a call of another method by heartbeats", async () => {
    // Nobody runs it: its server-side silence must end it, whatever others send.
    const { nats } = await as("worker");
    nats.subscribe(`${prefix}.rpc.Get`, { queue: "q", callback: () => undefined });
    await nats.flush();
    const acme = await as("acme");
    const client = createClient<TestClient>(TestService, acme);
    const lost = expect(client.get({})).rejects.toMatchObject({ code: Code.Unavailable });
    let isOver = false;
    const rogue = await serveByHand(`${prefix}.rpc.Two`, (request) => {
      forge(request.reply ?? "", (subject) => {
        if (subject.endsWith(".heartbeat")) {
          rogue.publish(subject);
        }
      });
      rogue.publish(request.reply ?? "", forged);
    });
    const beating = (async () => {
      while (!isOver) {
        await client.two({});
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    })();
    await lost;
    isOver = true;
    await beating;
  });

  test("not read the next of a NUID: inboxes, consumers and batches have other names", async () => {
    const messages = await tap();
    await serve({
      async *count({ count }) {
        for (let index = 0; index < count; index++) {
          yield { index };
        }
      },
      do: ({ data }) => ({ data }),
      urgent: ({ text }) => ({ text }),
      get: ({ data }) => ({ data }),
    });
    const client = createClient<TestClient>(TestService, await as("acme"));
    await client.get({ data: new Uint8Array(1_100_000) });
    const call = await client.count.submit({ count: 100 });
    expect(await collect(call)).toHaveLength(100);
    expect(await collect(client.count.attach(call.id))).toHaveLength(100);
    await client.do({ data: new Uint8Array(1_100_000) });
    await client.urgent({});
    // Call ids are NUIDs, which the workers of the method are told.
    const known = call.id.slice(0, 12);
    const told = messages.filter(({ subject }) => subject.startsWith(`${prefix}.queue`));
    expect(told.some(({ subject }) => subject.includes(known))).toBe(true);
    const inboxes = messages.flatMap(({ reply }) => (reply?.startsWith("_INBOX.") ? [reply] : []));
    const consumers = messages.flatMap(
      ({ subject }) =>
        /^\$JS\.API\.CONSUMER\.(CREATE|MSG\.NEXT|DELETE)\.(TEST_LOG|OBJ_TEST_PAYLOAD)\.[^.]+/.exec(
          subject,
        )?.[0] ?? [],
    );
    const batches = await batchIds();
    for (const secrets of [inboxes, consumers, batches]) {
      expect(secrets.length).toBeGreaterThan(1);
      expect(secrets.filter((each) => each.includes(known))).toEqual([]);
    }
  });

  /** Those of what call logs and objects hold. */
  async function batchIds(): Promise<string[]> {
    const ids: string[] = [];
    for (const stream of ["TEST_LOG", "OBJ_TEST_PAYLOAD"]) {
      for (let seq = 1; ; ) {
        const body = JSON.stringify({ seq, next_by_subj: ">" });
        const message = await root.nats.request(`$JS.API.DIRECT.GET.${stream}`, body);
        if (message.headers?.code === 404) {
          break;
        }
        seq = Number(message.headers?.get("Nats-Sequence")) + 1;
        const id = message.headers?.get("Nats-Batch-Id");
        if (id) {
          ids.push(id);
        }
      }
    }
    return ids;
  }
});

describe("a worker cannot have its callers publish where it may not itself:", () => {
  test("a stream is accepted on a subject of its streams only", async () => {
    const target = `${prefix}.queue.Do.acme._.accepted`;
    const rogue = await serveByHand(`${prefix}.rpc.Chat`, (request) => {
      const accept = headers();
      accept.set("Jetrpc-Frame", "accept");
      rogue.publish(request.reply ?? "", "", { headers: accept, reply: target });
    });
    const messages = await tap();
    const client = createClient<TestClient>(TestService, await as("acme"));
    async function* requests() {
      yield { text: "published where?" };
    }
    await expect(collect(client.chat(requests()))).rejects.toMatchObject({
      code: Code.Internal,
      rawMessage: expect.stringContaining(target),
    });
    await root.nats.flush();
    expect(messages.filter(({ subject }) => subject === target)).toEqual([]);
  });

  test("descriptors are asked for on a subject of descriptors only", async () => {
    const info = (describe: string) =>
      JSON.stringify({
        type: "io.nats.micro.v1.info_response",
        name: "test_v1_TestService",
        id: "rogue",
        version: "1.0.0",
        metadata: { "jetrpc-service": prefix, "jetrpc-describe": describe },
      });
    let named = "";
    const rogue = await as("rogue");
    rogue.nats.subscribe("$SRV.INFO.test_v1_TestService", {
      callback: (_error, message) => void message.respond(info(named)),
    });
    await rogue.nats.flush();
    const acme = await as("acme");
    for (const [subject, code] of [
      [`${prefix}.queue.Do.acme._.described`, Code.Internal],
      // Looks like one, and is the request of a durable call.
      [`${prefix}.queue.Do.acme._.describe`, Code.Internal],
    ] as const) {
      named = subject;
      const described = describeService(acme, prefix, { timeoutMs: 60_000 });
      await expect(described).rejects.toMatchObject({ code });
      const stored = await root.nats.request(`$JS.API.DIRECT.GET.TEST.${subject}`);
      expect(stored.headers?.code).toBe(404);
    }
  });
});
