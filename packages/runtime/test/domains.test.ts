import { Code, type Connection, createClient, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import {
  createOperator,
  createUserKey,
  type Grant,
  inboxPrefixOf,
  permissionsOf,
  planService,
  toServerConfig,
} from "@jetrpc/runtime/operator";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { nkeyAuthenticator } from "@nats-io/nats-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, type TestClient, type TestImpl, until } from "./support.js";

const service = TestService;
const grants: Record<string, Grant[]> = {
  admin: [{ role: "administrator", service }],
  worker: [{ role: "worker", service }],
  client: [{ role: "client", service, mayDelay: true }],
  operator: [{ role: "operator", service }],
};

/** Users of both sides of a leaf node, who ask the hub's domain or their server's own. */
class Users {
  private readonly keys = new Map<string, ReturnType<typeof createUserKey>>();

  /** Those of a server; `leaf` may do everything: the other server connects as it. */
  config(domains: readonly (string | undefined)[]): string {
    const everything = { allow: [">"], deny: [] };
    const users = domains.flatMap((domain) =>
      Object.entries(grants).map(([role, each]) => {
        const name = domain ? `${role}-${domain}` : role;
        return [name, permissionsOf({ name, grants: each, ...(domain && { domain }) })] as const;
      }),
    );
    const all = [...users, ["root", { publish: everything, subscribe: everything }] as const];
    return toServerConfig([
      {
        name: "A",
        users: all.map(([name, permissions]) => ({
          name,
          publicKey: this.key(name).publicKey,
          permissions,
        })),
      },
    ]);
  }

  key(name: string) {
    const key = this.keys.get(name) ?? createUserKey();
    this.keys.set(name, key);
    return key;
  }

  options(name: string) {
    const seed = new TextEncoder().encode(this.key(name).seed);
    return { authenticator: nkeyAuthenticator(seed), inboxPrefix: inboxPrefixOf(name) };
  }
}

const users = new Users();
let hub: NatsServer;
let leaf: NatsServer;
const open: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const leafPort = 20_000 + (process.pid % 20_000);
  hub = await startNats({
    config: `server_name: hub
jetstream { domain: hub }
leafnodes {
  listen: "127.0.0.1:${leafPort}"
  authorization { users: [{ user: leaf, password: p, account: A }] }
}
${users.config([undefined, "hub"])}`,
  });
  leaf = await startNats({
    config: `server_name: leaf
jetstream { domain: leaf }
leafnodes { remotes: [{ url: "nats://leaf:p@127.0.0.1:${leafPort}", account: A }] }
${users.config([undefined, "hub"])}`,
  });
  const [atHub, atLeaf] = [await as("root", hub), await as("root", leaf)];
  atHub.nats.subscribe("linked", { callback: (_error, message) => void message.respond() });
  await until(() =>
    atLeaf.nats.request("linked", "", { timeout: 500 }).then(
      () => true,
      () => false,
    ),
  );
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) {
    await close();
  }
  for (const server of [hub, leaf]) {
    const root = await as("root", server);
    const names = (await root.nats.request("$JS.API.STREAM.NAMES")).json<{ streams?: string[] }>();
    for (const name of names.streams ?? []) {
      await root.nats.request(`$JS.API.STREAM.DELETE.${name}`);
    }
    await root.close();
  }
  open.length = 0;
});
afterAll(async () => {
  await leaf?.stop();
  await hub?.stop();
});

async function as(role: string, server: NatsServer, domain?: string): Promise<Connection> {
  const user = domain ? `${role}-${domain}` : role;
  const connection = await connect({
    nats: { servers: server.url, ...users.options(user) },
    ...(domain && { domain }),
  });
  open.push(() => connection.close());
  return connection;
}

async function serve(impl: TestImpl, connection: Connection) {
  const worker = await startWorker(TestService, impl, connection, { drainTimeoutMs: 1_000 });
  open.push(() => worker.drain());
  return worker;
}

async function client(server: NatsServer, domain?: string): Promise<TestClient> {
  return createClient<TestClient>(TestService, await as("client", server, domain));
}

/** As an administrator does. */
async function apply(server: NatsServer, domain?: string): Promise<void> {
  await (await planService(await as("admin", server, domain), TestService)).apply();
}

/** The error of one domain that is asked, where another one has the streams. */
const wrongSide = (asked: string, other: string) => ({
  code: Code.FailedPrecondition,
  rawMessage: expect.stringMatching(
    new RegExp(`domain "${other}" stores .* asks JetStream domain "${asked}".*JETRPC_DOMAIN`),
  ),
});

describe("from a leaf, the hub's domain", () => {
  test("does all that a domain of one's own does", async () => {
    await apply(leaf, "hub");
    const runs: string[] = [];
    const impl: TestImpl = {
      get: ({ text, data }) => ({ text, data }),
      do: ({ text, data }, context) => {
        runs.push(text);
        context.progress({ done: 1, total: 1 });
        return { text, data };
      },
      async *count({ count }) {
        for (let index = 0; index < count; index++) {
          yield { index };
        }
      },
      urgent: ({ text }) => ({ text }),
    };
    await serve(impl, await as("worker", leaf, "hub"));
    await serve(impl, await as("worker", hub));
    await serve(impl, await as("worker", hub, "hub"));
    for (const side of [await client(leaf, "hub"), await client(hub), await client(hub, "hub")]) {
      expect((await side.get({ text: "direct" })).text).toBe("direct");
      expect((await side.do({ text: "plain" })).text).toBe("plain");
      expect(await collect(side.count({ count: 200 }))).toHaveLength(200);
      expect((await side.urgent({ text: "high" })).text).toBe("high");
      const notBefore = new Date(Date.now() + 200);
      const later = await side.do.submit({ text: "later" }, { notBefore });
      expect((await later.result()).text).toBe("later");
      const data = new Uint8Array(1_200_000);
      expect((await side.do({ text: "large", data })).data).toHaveLength(1_200_000);
      expect((await side.get({ data })).data).toHaveLength(1_200_000);
    }
    // Three clients made three calls of it each.
    const each = (text: string) => [text, text, text];
    expect(runs.sort()).toEqual([...each("large"), ...each("later"), ...each("plain")]);
    const callId = "both-sides";
    await (await client(leaf, "hub")).do.submit({ text: "named" }, { callId });
    const attached = (await client(hub)).do.attach(callId);
    expect((await attached.result()).text).toBe("named");
    const operator = createOperator(await as("operator", leaf, "hub"), TestService);
    expect(await collect(operator.deadLetters())).toEqual([]);
    expect((await operator.queues()).map(({ method }) => method)).toContain("Do");
  });

  test("is asked for by JETRPC_DOMAIN", async () => {
    await apply(hub);
    process.env["JETRPC_DOMAIN"] = "hub";
    try {
      const connection = await connect({
        nats: { servers: leaf.url, ...users.options("client-hub") },
      });
      open.push(() => connection.close());
      expect(connection.domain).toBe("hub");
      const call = await createClient<TestClient>(TestService, connection).do.submit({});
      expect((await call.status()).state).toBe("queued");
    } finally {
      delete process.env["JETRPC_DOMAIN"];
    }
  });
});

describe("from a leaf that does not name the hub's domain", () => {
  test("a client is told which one has the streams, and nothing is stored", async () => {
    await apply(hub);
    const side = await client(leaf);
    const refusal = wrongSide("leaf", "hub");
    await expect(side.do({})).rejects.toMatchObject(refusal);
    await expect(side.do.submit({})).rejects.toMatchObject(refusal);
    await expect(side.do.submit({}, { callId: "named" })).rejects.toMatchObject(refusal);
    await expect(side.do.attach("named").result()).rejects.toMatchObject(refusal);
    await expect(side.do.attach("named").status()).rejects.toMatchObject(refusal);
    await expect(side.do.attach("named").cancel()).rejects.toMatchObject(refusal);
    await expect(collect(side.count.attach("named"))).rejects.toMatchObject(refusal);
    await expect(collect(side.do.attach("named").progress())).rejects.toMatchObject(refusal);
    const root = await as("root", hub);
    const info = (await root.nats.request("$JS.API.STREAM.INFO.TEST")).json<{
      state: { last_seq: number };
    }>();
    expect(info.state.last_seq).toBe(0);
  });

  test.each(["worker", "root"])("a %s makes no second set of streams", async (role) => {
    await apply(hub);
    const connection = await as(role, leaf);
    await expect(serve({ do: () => ({}) }, connection)).rejects.toMatchObject(
      wrongSide("leaf", "hub"),
    );
    const root = await as("root", leaf);
    const names = (await root.nats.request("$JS.API.STREAM.NAMES")).json<{ streams?: string[] }>();
    expect(names.streams ?? []).toEqual([]);
  });

  test("neither does an administrator, on either side", async () => {
    await apply(leaf);
    await expect(apply(hub)).rejects.toMatchObject(wrongSide("hub", "leaf"));
  });
});

test("where both sides have the streams already, no call is accepted", async () => {
  await apply(hub);
  const root = await as("root", leaf);
  // As was possible while the leaf was cut off.
  const config = { name: "TEST", subjects: ["test.v1.TestService.queue.>"] };
  await root.nats.request("$JS.API.STREAM.CREATE.TEST", JSON.stringify(config));
  await expect((await client(hub)).do.submit({})).rejects.toMatchObject(wrongSide("hub", "leaf"));
  await expect((await client(leaf)).do.submit({})).rejects.toMatchObject(wrongSide("leaf", "hub"));
  await expect(serve({ do: () => ({}) }, await as("worker", hub))).rejects.toMatchObject(
    wrongSide("hub", "leaf"),
  );
});

test.each(["a.b", "*", "a b"])("domain %j is refused", async (domain) => {
  const options = { nats: { servers: hub.url }, domain };
  await expect(connect(options)).rejects.toMatchObject({ code: Code.InvalidArgument });
  expect(() => permissionsOf({ name: "a", grants: [], domain })).toThrow(/domain/);
});

test("a call is refused that a server of another domain has stored, also when nothing told before", async () => {
  const mayNotTrace =
    '{ publish: { allow: [">"], deny: ["*.*.*.*.*.*.*.jetrpc-trace"] }, subscribe: [">"] }';
  await using server = await startNats({
    config: `jetstream { domain: leafd }
authorization {
  timeout: 60
  users: [{ user: a, password: a }, { user: b, password: b, permissions: ${mayNotTrace} }]
}`,
  });
  const as = (user: string) => ({ servers: server.url, user, pass: user });
  const near = await connect({ nats: as("a") });
  const far = await connect({ nats: as("b"), domain: "other" });
  const worker = await startWorker(TestService, { do: () => ({}) }, near);
  const client = createClient<TestClient>(TestService, far);
  await expect(client.do.submit({})).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await worker.drain();
  await far.close();
  await near.close();
});
