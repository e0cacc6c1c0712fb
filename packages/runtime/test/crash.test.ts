import { Code } from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { chance } from "../../../test/chance.js";
import { type TestProcess, useProcesses } from "./process.js";
import { collect, until, useNats } from "./support.js";

const nats = useNats();
const start = useProcesses();

/** Starts a worker process and waits until it takes calls. */
async function startProcess(url = nats.server.url): Promise<TestProcess> {
  const worker = start("crash-worker.mjs", nats.environment("worker", url));
  await worker.says("ready");
  return worker;
}

const count = 300;
const all = Array.from({ length: count }, (_, index) => index);

describe("kill -9 of the worker", () => {
  test.each(["count", "resume"] as const)(
    "in the middle of a stream: every message once and in order (%s)",
    async (method) => {
      const first = await startProcess();
      const client = await nats.client();
      const call = await client[method].submit({ count }, { callId: "cut" });
      const attached = collect((await nats.client())[method].attach("cut"));
      const killAt = 1 + chance()(count - 2);
      const seen: number[] = [];
      for await (const message of call) {
        seen.push(message.index);
        if (seen.length === killAt) {
          await startProcess();
          await first.end("SIGKILL");
        }
      }
      expect(seen).toEqual(all);
      expect((await attached).map((m) => m.index)).toEqual(all);
    },
  );

  test("while a unary call runs: another worker makes the next attempt", async () => {
    const first = await startProcess();
    const client = await nats.client();
    const result = client.do({ text: "hang" });
    await first.says("hanging");
    await startProcess();
    await first.end("SIGKILL");
    expect((await result).text).toBe("attempt 2");
  });

  test("by the call itself, again and again, ends the call and blocks nobody", async () => {
    const workers = await Promise.all([1, 2, 3].map(() => startProcess()));
    const client = await nats.client();
    const poison = client.do({ text: "poison" });
    poison.catch(() => undefined);
    await until(() => workers.every((worker) => worker.child.signalCode === "SIGKILL"));
    await startProcess();
    await expect(poison).rejects.toMatchObject({
      code: Code.Internal,
      rawMessage: expect.stringContaining("gave up after 3 attempts"),
    });
    expect((await client.do({ text: "fine" })).text).toBe("attempt 1");
  });
});

test("SIGTERM lets the worker finish what runs, and end by itself", async () => {
  const child = await startProcess();
  const client = await nats.client();
  const call = await client.count.submit({ count });
  const seen: number[] = [];
  let exit: Promise<number | null> | undefined;
  for await (const message of call) {
    seen.push(message.index);
    if (seen.length === 10) {
      exit = child.end("SIGTERM");
    }
  }
  expect(seen).toEqual(all);
  expect(await exit).toBe(0);
});

describe("kill -9 of the server", () => {
  test("in the middle of a stream: client and worker go on when it is back", async () => {
    await using server = await nats.start();
    await startProcess(server.url);
    const client = await nats.client({ url: server.url });
    const seen: number[] = [];
    for await (const message of client.count({ count })) {
      seen.push(message.index);
      if (seen.length === 50) {
        await server.kill();
        await server.restart();
      }
    }
    expect(seen).toEqual(all);
  });

  test("keeps what was accepted, and its id", async () => {
    await using server = await nats.start();
    const client = await nats.client({ url: server.url });
    const call = await client.do.submit({ text: "x" }, { callId: "kept" });
    await server.kill();
    await server.restart();
    await startProcess(server.url);
    expect((await call.result()).text).toBe("attempt 1");
    await server.kill();
    await server.restart();
    // JetStream has forgotten the message id of a request that was acknowledged.
    const again = await client.do.submit({ text: "x" }, { callId: "kept" });
    expect((await again.result()).text).toBe("attempt 1");
    expect((await client.do.attach("kept").result()).text).toBe("attempt 1");
  });

  test("while a call is submitted: it is accepted once the server is back", async () => {
    await using server = await nats.start();
    const client = await nats.client({ url: server.url });
    await client.do.submit({ text: "first" });
    await server.kill();
    const submitted = client.do.submit({ text: "x" });
    await server.restart();
    const call = await submitted;
    await startProcess(server.url);
    expect((await call.result()).text).toBe("attempt 1");
  });
});

describe("a worker that was silent for longer than ack_wait", () => {
  test("cannot write any more while another one runs the call, and is told so", async () => {
    const stale = await startProcess();
    const client = await nats.client();
    const seen: number[] = [];
    for await (const message of client.count({ count: 1_000 })) {
      seen.push(message.index);
      if (seen.length === 50) {
        stale.signal("SIGSTOP");
        await startProcess();
      } else if (seen.length === 200) {
        stale.signal("SIGCONT");
        await stale.says("aborted: another attempt runs the call");
      }
    }
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, index) => index));
  });

  test("cannot write any more when another one has ended the call", async () => {
    const stale = await startProcess();
    const client = await nats.client();
    const seen: number[] = [];
    for await (const message of client.count({ count })) {
      seen.push(message.index);
      if (seen.length === 50) {
        stale.signal("SIGSTOP");
        await startProcess();
      }
    }
    expect(seen).toEqual(all);
    stale.signal("SIGCONT");
    await stale.says("aborted: another attempt has ended the call");
  });
});
