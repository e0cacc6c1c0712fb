import {
  Code,
  ConnectError,
  type Connection,
  createClient,
  listServices,
  mayHaveRun,
  permanent,
  startWorker,
} from "@jetrpc/runtime";
import { expect, onTestFinished, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf, gate, type TestClient, until } from "../../runtime/test/support.js";
import { openTunnel } from "./open-tunnel.js";
import { useWeb } from "./support.js";

const web = useWeb();

/** A gateway behind a tunnel, and what stops it and starts another one in its place. */
async function restartable() {
  const tunnel = await openTunnel();
  let gateway = await web.gateway();
  tunnel.leadTo(gateway.url);
  return {
    ...tunnel,
    async restart() {
      await gateway.drain();
      gateway = await web.gateway();
      tunnel.leadTo(gateway.url);
    },
  };
}

test("a thousand messages arrive once and in order, through cuts and a restart of the gateway", async () => {
  await web.worker({
    async *count({ count }) {
      for (let index = 0; index < count; index++) {
        yield { index };
        if (index % 50 === 0) {
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      }
    },
  });
  const gateway = await restartable();
  const client = web.clientOf(gateway.url);
  const call = await client.count.submit({ count: 1_000 });
  for (const messages of [call, client.count({ count: 1_000 })]) {
    const got: number[] = [];
    for await (const { index } of messages) {
      got.push(index);
      if (index === 200 || index === 201 || index === 700) {
        gateway.cut();
      }
      if (index === 500) {
        await gateway.restart();
      }
    }
    expect(got).toEqual(Array.from({ length: 1_000 }, (_, index) => index));
  }
});

test("a thousand messages arrive once and in order, through a restart of NATS and reloads of the page", async () => {
  const middle = gate();
  await web.worker({
    async *count({ count }) {
      for (let index = 0; index < count; index++) {
        if (index === count / 2) {
          await middle.opened;
        }
        yield { index };
      }
    },
  });
  const { url } = await web.gateway();
  const { id } = await web.clientOf(url).count.submit({ count: 1_000 });
  const got: number[] = [];
  let restarting: Promise<void> | undefined;
  while (got.length < 1_000) {
    // A page that was loaded anew knows the id of the call, and how far it was.
    const connection = web.connectionOf(url);
    const call = createClient<TestClient>(TestService, connection).count.attach(id);
    for await (const { index } of call.messages({ from: got.length })) {
      got.push(index);
      if (got.length === 300) {
        restarting = (async () => {
          await web.server.kill();
          await web.server.restart();
          middle.open();
        })();
      }
      if (got.length % 350 === 0) {
        break;
      }
    }
    await connection.close();
  }
  await restarting;
  expect(got).toEqual(Array.from({ length: 1_000 }, (_, index) => index));
});

test("messages go on where a proxy ended the response as if it were whole", async () => {
  await web.worker({
    async *count({ count }) {
      for (let index = 0; index < count; index++) {
        yield { index, text: "x".repeat(100) };
      }
    },
  });
  const { url } = await web.gateway();
  let cuts = 0;
  const client = web.clientOf(url, {
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (!String(input).endsWith("/Messages") || cuts === 3) {
        return response;
      }
      cuts++;
      // Not where a message ends.
      const body = new Uint8Array(await response.arrayBuffer()).slice(0, 250 * cuts);
      return new Response(body, response);
    },
  });
  const call = await client.count.submit({ count: 20 });
  const got = await collect(call);
  expect(got.map(({ index }) => index)).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect(cuts).toBe(3);
});

test("progress goes on after a restart of the gateway, and ends with the call", async () => {
  const steps = [gate(), gate(), gate()];
  await web.worker({
    do: async (_request, context) => {
      for (const [done, step] of steps.entries()) {
        context.progress({ done, total: 3 });
        await step.opened;
      }
      return { text: "done" };
    },
  });
  const gateway = await restartable();
  const call = await web.clientOf(gateway.url).do.submit({});
  const got: number[] = [];
  for await (const { done } of call.progress()) {
    got.push(done);
    if (done === 0) {
      await gateway.restart();
    } else {
      gateway.cut();
    }
    steps[done]?.open();
  }
  expect(got).toEqual([0, 1, 2]);
});

test("a plain durable call is submitted once, and waited for through cuts and a restart", async () => {
  const running = gate();
  const go = gate();
  let runs = 0;
  await web.worker({
    do: async ({ text }) => {
      runs++;
      running.open();
      await go.opened;
      return { text: `done ${text}` };
    },
  });
  const gateway = await restartable();
  const client = web.clientOf(gateway.url);
  const result = client.do({ text: "it" });
  await running.opened;
  gateway.cut();
  await gateway.restart();
  go.open();
  expect((await result).text).toBe("done it");
  expect(runs).toBe(1);
});

test("a submission whose answer is lost is sent again, and accepted once", async () => {
  const ran: string[] = [];
  await web.worker({
    do: ({ text }) => {
      ran.push(text);
      return { text };
    },
  });
  const { url } = await web.gateway();
  // Browsers abort the requests of a page in the background by themselves, too.
  const losses = [new TypeError("Failed to fetch"), new DOMException("aborted", "AbortError")];
  const client = web.clientOf(url, {
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      const loss = String(input).endsWith("/Submit") && losses.shift();
      if (loss) {
        throw loss;
      }
      return response;
    },
  });
  const call = await client.do.submit({ text: "once" });
  expect((await call.result()).text).toBe("once");
  expect(losses).toEqual([]);
  expect(ran).toEqual(["once"]);
});

test("a call that ends with Unavailable is not taken for a gateway that is away", async () => {
  await web.worker({
    do: () => {
      throw permanent(new ConnectError("no disk", Code.Unavailable));
    },
  });
  const { url } = await web.gateway();
  const error = await failureOf(web.clientOf(url).do({}));
  expect(error).toMatchObject({ code: Code.Unavailable, rawMessage: "no disk" });
});

test("a direct call whose connection is lost is not repeated, and may have run", async () => {
  let runs = 0;
  const gateway = await restartable();
  await web.worker({
    get: async () => {
      runs++;
      gateway.cut();
      return {};
    },
  });
  const client = web.clientOf(gateway.url);
  const error = await failureOf(client.get({}));
  expect(error.code).toBe(Code.Unavailable);
  expect(mayHaveRun(error)).toBe(true);
  expect(runs).toBe(1);
});

test("waits end by time, signal and close() while the gateway is away", async () => {
  const tunnel = await openTunnel();
  tunnel.leadTo("http://127.0.0.1:1");
  const client = web.clientOf(tunnel.url);
  const call = client.do.attach("nobody");
  expect((await failureOf(call.result({ timeoutMs: 200 }))).code).toBe(Code.DeadlineExceeded);
  const leaving = new AbortController();
  const status = failureOf(call.status({ signal: leaving.signal }));
  leaving.abort();
  expect((await status).code).toBe(Code.Canceled);
  expect((await failureOf(client.do({}, { timeoutMs: 200 }))).code).toBe(Code.DeadlineExceeded);
  expect((await failureOf(client.get({}))).code).toBe(Code.Unavailable);
  const connection = web.connectionOf(tunnel.url);
  const other = createClient<TestClient>(TestService, connection);
  const result = failureOf(other.do.attach("nobody").result());
  await connection.close();
  expect((await result).rawMessage).toBe("the connection is closed");
  expect((await failureOf(other.get({}))).rawMessage).toBe("the connection is closed");
});

test("a connection to a gateway serves no worker, and says so", async () => {
  const connection = web.connectionOf("http://127.0.0.1:1") as Connection;
  for (const work of [startWorker(TestService, {}, connection), listServices(connection)]) {
    const error = await failureOf(work);
    expect(error).toMatchObject({ code: Code.InvalidArgument });
    expect(error.rawMessage).toContain("createConnection()");
  }
});

test("a token is asked for again when the gateway refuses it, once for all who wait", async () => {
  await web.worker({ get: () => ({ text: "it" }), do: () => ({ text: "done" }) });
  let valid = "first";
  const { url } = await web.gateway({
    authenticate: ({ headers }) =>
      headers.get("authorization") === `Bearer ${valid}` ? { owner: "ada" } : undefined,
  });
  let asked = 0;
  const client = web.clientOf(url, {
    token: async () => {
      asked++;
      return valid;
    },
  });
  await client.get({});
  valid = "second";
  const call = await client.do.submit({});
  await Promise.all([client.get({}), client.get({}), call.result(), collect(call.progress())]);
  expect(asked).toBe(2);
  // A token that is refused again is the end.
  const refused = web.clientOf(url, { token: () => "wrong" });
  const errors = [
    await failureOf(refused.get({})),
    await failureOf(refused.do.submit({})),
    await failureOf(collect(refused.down({}))),
    await failureOf(collect(refused.count.attach("one"))),
  ];
  expect(errors.map(({ code }) => code)).toEqual(errors.map(() => Code.Unauthenticated));
  expect(mayHaveRun(errors[0])).toBe(false);
});

test("waits end by time and signal though whoever gives tokens hangs", async () => {
  const client = web.clientOf("http://127.0.0.1:1", { token: () => new Promise(() => undefined) });
  expect((await failureOf(client.do({}, { timeoutMs: 50 }))).code).toBe(Code.DeadlineExceeded);
  expect((await failureOf(client.get({}, { timeoutMs: 50 }))).code).toBe(Code.DeadlineExceeded);
  for (const look of [
    (signal: AbortSignal) => client.get({}, { signal }),
    (signal: AbortSignal) => collect(client.down({}, { signal })),
    (signal: AbortSignal) => client.do.attach("one").result({ signal }),
    (signal: AbortSignal) => collect(client.count.attach("one").messages({ signal })),
  ]) {
    const leaving = new AbortController();
    const left = failureOf(look(leaving.signal));
    leaving.abort();
    expect((await left).code).toBe(Code.Canceled);
  }
});

test("a token that expires in the middle of a follow is replaced, and the follow goes on", async () => {
  const go = gate();
  await web.worker({
    async *count() {
      yield { index: 0 };
      await go.opened;
      yield { index: 1 };
    },
  });
  const tunnel = await openTunnel();
  let valid = "first";
  const { url } = await web.gateway({
    authenticate: ({ headers }) =>
      headers.get("authorization") === `Bearer ${valid}` ? { owner: "ada" } : undefined,
  });
  tunnel.leadTo(url);
  const client = web.clientOf(tunnel.url, { token: () => valid });
  const call = await client.count.submit({});
  const got: number[] = [];
  for await (const { index } of call) {
    got.push(index);
    if (index === 0) {
      valid = "second";
      tunnel.cut();
      go.open();
    }
  }
  expect(got).toEqual([0, 1]);
});

test("one that looks at a call ends with its own error, and others go on", async () => {
  const go = gate();
  await web.worker({
    do: async () => {
      await go.opened;
      throw permanent(new ConnectError("no disk", Code.FailedPrecondition));
    },
  });
  const { url } = await web.gateway();
  const client = web.clientOf(url);
  const { id } = await client.do.submit({});
  const waiting = Array.from({ length: 1_000 }, () => failureOf(client.do.attach(id).result()));
  const leaving = new AbortController();
  const left = failureOf(client.do.attach(id).result({ signal: leaving.signal }));
  leaving.abort();
  expect((await left).code).toBe(Code.Canceled);
  go.open();
  const errors = await Promise.all(waiting);
  expect(new Set(errors.map(({ code }) => code))).toEqual(new Set([Code.FailedPrecondition]));
});

test("however many look at a call, one request follows it, until the last of them has left", async () => {
  const steps = [gate(), gate()];
  await web.worker({
    do: async (_request, context) => {
      context.progress({ done: 1, total: 2 });
      await steps[0]?.opened;
      context.progress({ done: 2, total: 2 });
      await steps[1]?.opened;
      return { text: "done" };
    },
  });
  const { url } = await web.gateway();
  const requests: string[] = [];
  const open = new Set<AbortSignal>();
  const client = web.clientOf(url, {
    fetch: (input, init) => {
      requests.push(String(input).split("/").at(-1) as string);
      open.add(init?.signal as AbortSignal);
      return fetch(input, init);
    },
  });
  const call = await client.do.submit({});
  const looks = Array.from({ length: 5 }, () => client.do.attach(call.id));
  const leaving = new AbortController();
  const results = looks.map((look) => look.result());
  const left = failureOf(call.result({ signal: leaving.signal }));
  const late = failureOf(call.result({ timeoutMs: 50 }));
  const seen: number[][] = looks.map(() => []);
  const followed = looks.map(async (look, index) => {
    for await (const { done } of look.progress()) {
      seen[index]?.push(done);
    }
  });
  await until(() => seen.every(([first]) => first === 1));
  // Who comes later is told the last report.
  for await (const { done } of call.progress()) {
    expect(done).toBe(1);
    break;
  }
  leaving.abort();
  expect((await left).code).toBe(Code.Canceled);
  expect((await late).code).toBe(Code.DeadlineExceeded);
  steps[0]?.open();
  await until(() => seen.every((each) => each.length === 2));
  steps[1]?.open();
  expect((await Promise.all(results)).map(({ text }) => text)).toEqual(looks.map(() => "done"));
  await Promise.all(followed);
  expect(seen).toEqual(looks.map(() => [1, 2]));
  expect(requests).toEqual(["Submit", "Result", "Follow"]);

  // The request ends with the last who waits, and the next one begins anew.
  const { id } = await client.do.submit({}, { notBefore: new Date(Date.now() + 3.6e6) });
  requests.length = 0;
  open.clear();
  const one = new AbortController();
  const waiting = [1, 2].map(() => failureOf(client.do.attach(id).result({ signal: one.signal })));
  await until(() => requests.length === 1);
  one.abort();
  await Promise.all(waiting);
  await until(() => [...open].every(({ aborted }) => aborted));
  await failureOf(client.do.attach(id).result({ timeoutMs: 50 }));
  expect(requests).toEqual(["Result", "Result"]);
});

test("a silent connection is made anew when the browser is back on line", async () => {
  const go = gate();
  await web.worker({
    do: async () => {
      await go.opened;
      return { text: "done" };
    },
  });
  const { url } = await web.gateway();
  let isDead = true;
  const requests: string[] = [];
  const client = web.clientOf(url, {
    // A connection that nobody has closed, and that brings nothing any more.
    fetch: (input, init) => {
      requests.push(String(input));
      return isDead && String(input).endsWith("/Result")
        ? new Promise((_, reject) => {
            init?.signal?.addEventListener("abort", () => reject(new TypeError("aborted")));
          })
        : fetch(input, init);
    },
  });
  const page = new EventTarget();
  const browser = globalThis as { addEventListener?: unknown; removeEventListener?: unknown };
  browser.addEventListener = page.addEventListener.bind(page);
  browser.removeEventListener = page.removeEventListener.bind(page);
  onTestFinished(() => {
    delete browser.addEventListener;
    delete browser.removeEventListener;
  });
  const result = client.do({});
  await until(() => requests.some((request) => request.endsWith("/Result")));
  isDead = false;
  go.open();
  await until(() => {
    page.dispatchEvent(new Event("online"));
    return requests.filter((request) => request.endsWith("/Result")).length > 1;
  });
  expect((await result).text).toBe("done");
});
