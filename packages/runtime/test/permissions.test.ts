import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type Connection, createClient, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import {
  createOperator,
  type Grant,
  permissionsOf,
  toServerConfig,
  type User,
} from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { errors, headers } from "@nats-io/nats-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { RequestSchema, ShortService, TestService } from "./gen/test/v1/test_pb.js";
import { type Act, acts, type UserName } from "./permission-acts.js";
import { makeStreams, TestUsers } from "./secured.js";
import { collect, listedServices, type TestClient, type TestImpl, until } from "./support.js";

const service = TestService;
const grants: Record<UserName, Grant[]> = {
  admin: [{ role: "administrator", service }],
  worker: [{ role: "worker", service }],
  doer: [{ role: "worker", service, methods: ["Do", "get"] }],
  acme: [{ role: "client", service, owner: "acme" }],
  umbrella: [{ role: "client", service, owner: "umbrella", mayDelay: true }],
  caller: [{ role: "client", service, owner: "acme", methods: ["do", "Get"] }],
  shortClient: [{ role: "client", service: ShortService, owner: "acme" }],
  shortWorker: [{ role: "worker", service: ShortService }],
  operator: [{ role: "operator", service }],
  observer: [{ role: "observer", service }],
};
const users = new TestUsers(grants);
const names = Object.keys(grants) as UserName[];

let server: NatsServer;
let root: Connection;
const open: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await startNats({ config: users.config });
  root = await connect({ nats: { servers: server.url, ...users.options("root") } });
  await makeStreams(root, [TestService, ShortService]);
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) {
    await close();
  }
});
afterAll(async () => {
  await root.close();
  await server.stop();
});

async function as(name: UserName): Promise<Connection> {
  const owner = grants[name][0]?.owner ?? "_";
  const options = { servers: server.url, ...users.options(name) };
  const connection = await connect({ owner, nats: options });
  open.push(() => connection.close());
  return connection;
}

async function client(name: UserName): Promise<TestClient> {
  return createClient<TestClient>(TestService, await as(name));
}

async function serve(name: UserName, impl: TestImpl) {
  const worker = await startWorker(TestService, impl, await as(name));
  open.push(() => worker.drain());
  return worker;
}

/** The subjects of what the server refuses a connection. */
function refusals({ nats }: Connection): Set<string> {
  const refused = new Set<string>();
  void (async () => {
    for await (const status of nats.status()) {
      if (status.type === "error" && status.error instanceof errors.PermissionViolationError) {
        refused.add(status.error.subject);
      }
    }
  })();
  return refused;
}

describe("of everything that may be tried, the server allows", () => {
  test("is a list of acts, each once", () => {
    expect(acts.length).toBeGreaterThan(100);
    expect(new Set(acts.map(({ what }) => what)).size).toBe(acts.length);
  });

  test.each(names)("%s exactly what its role needs", async (name) => {
    const connection = await as(name);
    const refused = refusals(connection);
    const allowed: string[] = [];
    for (const act of acts) {
      if (await isAllowed(connection, refused, name, act)) {
        allowed.push(act.what);
      }
    }
    expect(allowed).toEqual(acts.filter((act) => act.allowed.includes(name)).map((a) => a.what));
  });

  async function isAllowed(
    { nats }: Connection,
    refused: Set<string>,
    name: string,
    { publish, subscribe, queue }: Act,
  ): Promise<boolean> {
    refused.clear();
    const subject = (publish ?? subscribe ?? "").replace("<self>", name);
    if (publish) {
      // What is allowed does no harm: nothing takes this for a request.
      nats.publish(subject, "?");
      await nats.flush();
    } else {
      const subscription = nats.subscribe(subject, {
        ...(queue && { queue }),
        callback: () => undefined,
      });
      await nats.flush();
      subscription.unsubscribe();
    }
    // The server's refusal comes before its answer to the flush; this reads what came.
    await new Promise((resolve) => setImmediate(resolve));
    return !refused.has(subject);
  }
});

/** What JetStream answers; its error when it refuses. */
async function ask({ nats }: Connection, subject: string, body: object | string = "") {
  const payload = typeof body === "string" ? body : JSON.stringify(body);
  const reply = await nats.request(subject, payload, { timeout: 60_000 });
  return reply.json() as { error?: { description: string } };
}

const prefix = "test.v1.TestService";
const ids = { next: 0 };
/** A call id of no other test. */
const newId = () => `id-${ids.next++}`;

describe("with these permissions all the work is done:", () => {
  test("direct calls of every kind", async () => {
    await serve("worker", {
      get: ({ text }) => ({ text }),
      async *down({ count }) {
        for (let index = 0; index < count; index++) {
          yield { index };
        }
      },
      async up(requests) {
        return { index: (await collect(requests)).length };
      },
      async *chat(requests) {
        for await (const { text } of requests) {
          yield { text: `${text}!` };
        }
      },
    });
    const acme = await client("acme");
    async function* requests() {
      yield { text: "a" };
      yield { text: "b" };
    }
    expect((await acme.get({ text: "hi" })).text).toBe("hi");
    expect(await collect(acme.down({ count: 3 }))).toHaveLength(3);
    expect((await acme.up(requests())).index).toBe(2);
    expect((await collect(acme.chat(requests()))).map(({ text }) => text)).toEqual(["a!", "b!"]);
    expect((await acme.get({ text: "x".repeat(2_000_000) })).text).toHaveLength(2_000_000);
  });

  test("durable calls: waited for, streamed, attached to, many at once, large", async () => {
    await serve("worker", {
      do: ({ text, data }, context) => {
        context.progress({ done: 1, total: 2 });
        return { text, data };
      },
      async *count({ count }) {
        for (let index = 0; index < count; index++) {
          yield { index };
        }
      },
      urgent: ({ text }) => ({ text }),
    });
    const acme = await client("acme");
    expect((await acme.do({ text: "x" })).text).toBe("x");
    expect(await collect(acme.count({ count: 100 }))).toHaveLength(100);
    const callId = newId();
    await acme.count.submit({ count: 3 }, { callId });
    const attached = (await client("caller")).do;
    expect(await collect(acme.count.attach(callId))).toHaveLength(3);
    const call = await acme.do.submit({ text: "p" }, { callId });
    expect((await attached.attach(callId).result()).text).toBe("p");
    expect(await collect(call.progress())).toMatchObject([{ done: 1, total: 2 }]);
    expect(await call.status()).toMatchObject({ state: "succeeded", progress: { done: 1 } });
    const many = acme.do.submitAll(Array.from({ length: 50 }, (_, i) => ({ text: `${i}` })));
    const submitted = await collect(many);
    const results = await Promise.all(submitted.map((each) => each.call?.result()));
    expect(results.map((each) => each?.text)).toEqual(results.map((_, i) => `${i}`));
    const high = await acme.urgent.submit({ text: "high" }, { priority: "high" });
    expect((await high.result()).text).toBe("high");
    const data = new Uint8Array(2_000_000).fill(7);
    // toEqual() takes 12 s for two arrays of this size.
    expect(Buffer.compare((await acme.do({ data })).data, data)).toBe(0);
  });

  test("cancels, of what waits and of what runs", async () => {
    const acme = await client("acme");
    const waiting = await acme.picky.submit({});
    expect(await waiting.cancel()).toBe(true);
    await expect(waiting.result()).rejects.toMatchObject({ code: Code.Canceled });
    let isCanceled = false;
    await serve("worker", {
      do: (_request, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => {
            isCanceled = true;
            reject(signal.reason);
          });
        }),
    });
    const running = await acme.do.submit({});
    await until(async () => (await running.status()).state === "running");
    expect(await running.cancel()).toBe(true);
    await until(() => isCanceled);
  });

  test("delayed calls, of those who may delay", async () => {
    await serve("worker", { do: ({ text }) => ({ text }) });
    const notBefore = new Date(Date.now() + 500);
    const delayed = await (await client("umbrella")).do.submit({ text: "later" }, { notBefore });
    expect((await delayed.result()).text).toBe("later");
    await expect((await client("acme")).do.submit({}, { notBefore })).rejects.toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: expect.stringContaining(`${prefix}.later.Do.acme`),
    });
  });

  test("a worker of some methods serves these, and no others", async () => {
    await serve("doer", { do: ({ text }) => ({ text }), get: ({ text }) => ({ text }) });
    const caller = await client("caller");
    expect((await caller.do({ text: "done" })).text).toBe("done");
    expect((await caller.get({ text: "got" })).text).toBe("got");
    const notBefore = new Date(Date.now() + 300);
    const delayed = await (await client("umbrella")).do.submit({ text: "due" }, { notBefore });
    expect((await delayed.result()).text).toBe("due");
    await expect(serve("doer", { two: () => ({}) })).rejects.toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: expect.stringMatching(/TestService\.\w+\.Two/),
    });
    await expect(collect(caller.down({}))).rejects.toMatchObject({ code: Code.PermissionDenied });
    await expect(caller.picky.submit({})).rejects.toMatchObject({ code: Code.PermissionDenied });
  });

  test("an operator replays and discards dead letters, pauses and resumes", async () => {
    let isMended = false;
    await serve("worker", {
      do: ({ text }) => {
        if (!isMended) {
          throw new ConnectError("bad", Code.InvalidArgument);
        }
        return { text };
      },
    });
    const acme = await client("acme");
    const callId = newId();
    const call = await acme.do.submit({ text: "again" }, { callId });
    await expect(call.result()).rejects.toMatchObject({ code: Code.InvalidArgument });
    const operator = createOperator(await as("operator"), TestService);
    const letter = async () => (await collect(operator.deadLetters({ callId })))[0];
    await until(async () => (await letter()) !== undefined);
    expect(await (await letter())?.request()).toMatchObject({ text: "again" });
    isMended = true;
    await (await letter())?.replay();
    expect((await acme.do.attach(callId).result()).text).toBe("again");
    expect(await letter()).toBeUndefined();
    await operator.pause("Do");
    expect((await operator.queues()).find(({ method }) => method === "Do")).toHaveProperty(
      "pausedUntil",
    );
    await operator.resume("Do");
    expect((await acme.do({ text: "goes on" })).text).toBe("goes on");
  });

  test("an observer sees workers and queues", async () => {
    await serve("worker", { get: () => ({}) });
    const observer = await as("observer");
    expect(await listedServices(observer, 1)).toMatchObject([{ typeName: prefix }]);
    expect(await createOperator(observer, TestService).queues()).toHaveLength(
      [...bindService(TestService).methods.values()].filter((m) => m.delivery === "durable").length,
    );
    await expect(
      collect(createOperator(observer, TestService).deadLetters()),
    ).rejects.toMatchObject({ code: Code.PermissionDenied });
  });

  test("an administrator makes what is absent, and changes it", async () => {
    const admin = await as("admin");
    await root.nats.request("$JS.API.STREAM.DELETE.TEST_DEAD");
    await makeStreams(admin, [TestService]);
    const info = await ask(admin, "$JS.API.STREAM.INFO.TEST_DEAD");
    const { config } = info as unknown as { config: object };
    const changed = { ...config, description: "changed" };
    expect(await ask(admin, "$JS.API.STREAM.UPDATE.TEST_DEAD", changed)).toMatchObject({
      config: { description: "changed" },
    });
  });
});

describe("an owner's calls are its own:", () => {
  test("the call id of another owner is another call", async () => {
    await serve("worker", { do: ({ text }) => ({ text }) });
    const [acme, umbrella] = [await client("acme"), await client("umbrella")];
    const callId = newId();
    await (await acme.do.submit({ text: "of acme" }, { callId })).result();
    await expect(umbrella.do.attach(callId).result()).rejects.toMatchObject({
      code: Code.NotFound,
    });
    const own = await umbrella.do.submit({ text: "of umbrella" }, { callId });
    expect((await own.result()).text).toBe("of umbrella");
    expect((await acme.do.attach(callId).result()).text).toBe("of acme");
  });

  test("a connection that names another owner can do nothing", async () => {
    const options = { servers: server.url, ...users.options("acme") };
    const connection = await connect({ owner: "umbrella", nats: options });
    open.push(() => connection.close());
    const impostor = createClient<TestClient>(TestService, connection);
    await expect(impostor.do.submit({})).rejects.toMatchObject({ code: Code.PermissionDenied });
    await expect(impostor.do.attach("x").result()).rejects.toMatchObject({
      code: Code.PermissionDenied,
    });
  });

  test("a connection with another inbox is told so at once", async () => {
    const { authenticator } = users.options("acme");
    const connection = await connect({ nats: { servers: server.url, authenticator } });
    open.push(() => connection.close());
    const acme = createClient<TestClient>(TestService, connection);
    await expect(acme.get({})).rejects.toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: expect.stringContaining("NATS_INBOX_PREFIX"),
    });
  });

  test("the filter of a consumer is what the subject says, whatever its body says", async () => {
    const acme = await as("acme");
    const own = `${prefix}.log.Do.acme._.x.entry`;
    const foreign = `${prefix}.log.Do.umbrella.>`;
    const create = async (config: object, stream = "TEST_LOG") =>
      (
        await ask(acme, `$JS.API.CONSUMER.CREATE.TEST_LOG.mine.${own}`, {
          stream_name: stream,
          action: "create",
          config: { name: "mine", ack_policy: "none", ...config },
        })
      ).error;
    expect(await create({ filter_subject: foreign })).toBeDefined();
    expect(await create({})).toBeDefined();
    expect(await create({ filter_subjects: [own, foreign] })).toBeDefined();
    expect(await create({ filter_subject: own, filter_subjects: [foreign] })).toBeDefined();
    expect(await create({ filter_subject: own }, "TEST")).toBeDefined();
    expect(await create({ filter_subject: own })).toBeUndefined();
  });

  test("a read that is bound to a subject takes no other one in its body", async () => {
    const { nats } = await as("acme");
    const own = `$JS.API.DIRECT.GET.TEST_LOG.${prefix}.log.Do.acme._.x.entry`;
    for (const body of [{ seq: 1 }, { next_by_subj: ">" }, { multi_last: [">"] }]) {
      const reply = await nats.request(own, JSON.stringify(body));
      expect(reply.headers?.code).toBe(408);
    }
  });

  test("no write of a client empties a stream", async () => {
    const acme = await as("acme");
    const rollup = headers();
    rollup.set("Nats-Rollup", "all");
    for (const kind of ["queue", "log"]) {
      const subject = `${prefix}.${kind}.Do.acme._.${newId()}${kind === "log" ? ".entry" : ""}`;
      const reply = await acme.nats.request(subject, "", { headers: rollup, timeout: 60_000 });
      expect((reply.json() as { error?: object }).error).toMatchObject({ err_code: 10111 });
    }
  });

  test("a worker does not reply where its caller may not publish", async () => {
    const ran: string[] = [];
    await serve("worker", {
      get: ({ text }) => {
        ran.push(text);
        return {};
      },
    });
    const { nats } = await as("acme");
    const request = (text: string) => toBinary(RequestSchema, create(RequestSchema, { text }));
    for (const reply of [`${prefix}.queue.Do.umbrella._.1`, "$JS.API.STREAM.PURGE.TEST_LOG"]) {
      nats.publish(`${prefix}.rpc.Get`, request(reply), { reply });
    }
    await nats.request(`${prefix}.rpc.Get`, request("last"));
    expect(ran).toEqual(["last"]);
  });

  test("what JetStream sends is no request to a worker", async () => {
    const ran: string[] = [];
    const log: string[] = [];
    const worker = await startWorker(
      TestService,
      {
        two: ({ text }) => {
          ran.push(text);
          return {};
        },
      },
      await as("worker"),
      { logger: ({ message }) => log.push(message) },
    );
    open.push(() => worker.drain());
    const caller = await as("caller");
    const own = `${prefix}.log.Do.acme._.${newId()}.entry`;
    const request = toBinary(RequestSchema, create(RequestSchema, { text: "x" }));
    await caller.nats.request(own, request);
    const name = newId();
    const deliver = { deliver_subject: `${prefix}.rpc.Two`, deliver_group: "q" };
    await ask(caller, `$JS.API.CONSUMER.CREATE.TEST_LOG.${name}.${own}`, {
      stream_name: "TEST_LOG",
      action: "create",
      config: { name, filter_subject: own, ack_policy: "none", ...deliver },
    });
    caller.nats.publish(`$JS.API.DIRECT.GET.TEST_LOG.${own}`, "", { reply: `${prefix}.rpc.Two` });
    await until(() => log.length === 2);
    expect(log.join()).toMatch(/\$JS\.ACK/);
    expect(log.join()).toMatch(/no subject/);
    expect(ran).toEqual([]);
  });

  test("a schedule does not make a call of another owner", async () => {
    let runs = 0;
    const logged: string[] = [];
    const worker = await startWorker(
      TestService,
      { do: () => ({ index: ++runs }) },
      await as("worker"),
      { logger: ({ message }) => logged.push(message) },
    );
    open.push(() => worker.drain());
    const umbrella = await as("umbrella");
    const target = `${prefix}.due.queue.Do.acme._.${newId()}`;
    const schedule = headers();
    schedule.set("Nats-Schedule", `@at ${new Date(Date.now() + 100).toISOString()}`);
    schedule.set("Nats-Schedule-Target", target);
    await umbrella.nats.request(`${prefix}.later.Do.umbrella._.${newId()}`, "", {
      headers: schedule,
      timeout: 60_000,
    });
    await until(() => logged.includes(`${target} was scheduled for another call`));
    expect(runs).toBe(0);
  });
});

/** Has the server send what acme stored in a log of its own to any subject. */
async function inject({ nats }: Connection, body: string, to: string): Promise<void> {
  const own = `${prefix}.log.Do.acme._.${newId()}.entry`;
  await nats.request(own, body);
  nats.publish(`$JS.API.DIRECT.GET.TEST_LOG.${own}`, "", { reply: to });
  await nats.flush();
}

// nats-server checks neither the subject to which it is asked to reply nor the one to
// which a consumer delivers (nats-io/nats-server#8274). docs/security.md says what
// follows. A test that fails here is good news: mend that page.
describe("what one account does not stop:", () => {
  test("a client may have the server submit as another owner", async () => {
    const forged = `${prefix}.queue.Do.umbrella._.${newId()}`;
    await inject(await as("acme"), "", forged);
    const read = `$JS.API.DIRECT.GET.TEST.${forged}`;
    await until(async () => !(await root.nats.request(read)).headers?.hasError);
  });

  test("a client may have the server give it the results of another owner", async () => {
    const secret = `${prefix}.log.Do.umbrella._.${newId()}.entry`;
    await root.nats.request(secret, "secret");
    const acme = await as("acme");
    const inbox = `_INBOX.acme.${newId()}`;
    let stolen = "";
    acme.nats.subscribe(inbox, {
      callback: (_error, message) => {
        stolen = message.string();
      },
    });
    const name = newId();
    const config = {
      name,
      filter_subject: secret,
      ack_policy: "none",
      deliver_subject: inbox,
    };
    const body = JSON.stringify({ stream_name: "TEST_LOG", action: "create", config });
    await inject(acme, body, `$JS.API.CONSUMER.CREATE.TEST_LOG.${name}.${secret}`);
    await until(() => stolen === "secret");
  });

  test("who may delay calls may read delayed requests of others, and remove them", async () => {
    const umbrella = await as("umbrella");
    const secret = `${prefix}.later.Do.acme._.${newId()}`;
    await root.nats.request(secret, "secret");
    const target = `${prefix}.due.queue.Do.umbrella._.${newId()}`;
    const schedule = headers();
    schedule.set("Nats-Schedule", `@at ${new Date(Date.now() + 100).toISOString()}`);
    schedule.set("Nats-Schedule-Target", target);
    schedule.set("Nats-Schedule-Source", secret);
    const own = `${prefix}.later.Do.umbrella._.${newId()}`;
    await umbrella.nats.request(own, "", { headers: schedule, timeout: 60_000 });
    const read = `$JS.API.DIRECT.GET.TEST_LATER.${target}`;
    await until(async () => (await umbrella.nats.request(read)).string() === "secret");
    const rollup = headers();
    rollup.set("Nats-Rollup", "all");
    await umbrella.nats.request(own, "", { headers: rollup, timeout: 60_000 });
    const gone = await root.nats.request(`$JS.API.DIRECT.GET.TEST_LATER.${secret}`);
    expect(gone.headers?.code).toBe(404);
  });
});

test("an account of its own does: what is sent in one is not heard in another", async () => {
  const tenants = new TestUsers({ acme: grants.acme }, "ACME");
  const both = { config: toServerConfig([...users.accounts, ...tenants.accounts]) };
  await using separate = await startNats(both);
  const join = (of: TestUsers, name: string) =>
    connect({ owner: "acme", nats: { servers: separate.url, ...of.options(name) } });
  const rootOf = { shared: await join(users, "root"), acme: await join(tenants, "root") };
  for (const each of Object.values(rootOf)) {
    await makeStreams(each, [TestService]);
  }
  const acme = await join(tenants, "acme");
  const forged = `${prefix}.queue.Do.umbrella._.${newId()}`;
  await inject(acme, "", forged);
  const read = `$JS.API.DIRECT.GET.TEST.${forged}`;
  await until(async () => !(await rootOf.acme.nats.request(read)).headers?.hasError);
  expect((await rootOf.shared.nats.request(read)).headers?.code).toBe(404);
  await Promise.all([acme, rootOf.shared, rootOf.acme].map((each) => each.close()));
});

test("docs/security.md shows what the acts say", () => {
  const columns: UserName[] = ["admin", "worker", "acme", "operator", "observer"];
  const page = readFileSync(join(import.meta.dirname, "../../../docs/security.md"), "utf8");
  const [, table = ""] = page.split(
    "| act | administrator | worker | client | operator | observer |",
  );
  const [rows = ""] = table.split("\n\n");
  const shown = rows
    .split("\n")
    .slice(2)
    .map((row) =>
      row
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  expect(shown.length).toBeGreaterThan(30);
  for (const [what, ...cells] of shown) {
    const act = acts.find((each) => each.what === what);
    expect([what, ...cells]).toEqual([
      act?.what,
      ...columns.map((user) => (act?.allowed.includes(user) ? "yes" : "")),
    ]);
  }
});

describe("permissionsOf()", () => {
  test.each([
    [{ name: "a.b", grants: [] }, 'user "a.b"'],
    [{ name: "a", grants: [{ role: "client", service, methods: ["Nope"] }] }, "no method Nope"],
    [{ name: "a", grants: [{ role: "client", service, owner: "*" }] }, 'owner "*"'],
    [{ name: "a", grants: [{ role: "worker", service, owner: "acme" }] }, "no use for an owner"],
    [{ name: "a", grants: [{ role: "observer", service, methods: ["Do"] }] }, "no use for methods"],
    [{ name: "a", grants: [{ role: "root" as never, service }] }, 'no role "root"'],
  ] satisfies [User, string][])("refuses %j", (user, text) => {
    expect(() => permissionsOf(user)).toThrow(
      expect.objectContaining({
        code: Code.InvalidArgument,
        rawMessage: expect.stringContaining(text),
      }),
    );
  });

  test("joins the grants of a user, each subject once", () => {
    const one = permissionsOf({ name: "a", grants: grants.acme });
    const two = permissionsOf({ name: "a", grants: [...grants.acme, ...grants.acme] });
    expect(two).toEqual(one);
  });
});
