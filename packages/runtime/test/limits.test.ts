import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@jetrpc/runtime";
import { errors } from "@nats-io/nats-core";
import { describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { useProcesses } from "./process.js";
import {
  collect,
  gate,
  listedServices,
  patientDrain,
  type TestClient,
  until,
  useNats,
} from "./support.js";

const nats = useNats();
const start = useProcesses();

/** A handler that counts how many run at once, and waits. */
function counter() {
  const state = { running: 0, most: 0, done: 0 };
  const handler = async () => {
    state.running++;
    state.most = Math.max(state.most, state.running);
    await new Promise((resolve) => setTimeout(resolve, 20));
    state.running--;
    state.done++;
    return {};
  };
  return { state, handler };
}

const sum = (numbers: number[]) => numbers.reduce((all, each) => all + each, 0);

describe("a limit of calls at once", () => {
  test("of a method makes others take over, and the rest wait", async () => {
    const finish = gate();
    const running = [0, 0];
    const workers: Awaited<ReturnType<typeof nats.worker>>[] = [];
    for (const index of running.keys()) {
      const worker = await nats.worker({
        two: async () => {
          running[index] = (running[index] as number) + 1;
          await finish.opened;
          running[index] = (running[index] as number) - 1;
          return {};
        },
      });
      workers.push(worker);
    }
    const client = await nats.client();
    const held: Promise<unknown>[] = [];
    while (held.length < 4) {
      held.push(client.two({}));
      await until(() => sum(running) === held.length);
      // The server knows when a worker has left the queue group.
      await Promise.all(workers.map(({ connection }) => connection.nats.flush()));
    }
    expect(running).toEqual([2, 2]);
    const rest = Array.from({ length: 36 }, () => client.two({}));
    await delay(100);
    expect(running).toEqual([2, 2]);
    finish.open();
    await Promise.all([...held, ...rest]);
  });

  test("of a method is kept while calls come and go", async () => {
    const workers = [counter(), counter()] as const;
    for (const { handler } of workers) {
      await nats.worker({ two: handler });
    }
    const client = await nats.client();
    await Promise.all(Array.from({ length: 40 }, () => client.two({})));
    for (const { state } of workers) {
      expect(state.most).toBeLessThanOrEqual(2);
    }
    expect(workers[0].state.done + workers[1].state.done).toBe(40);
  });

  test("of a worker counts the calls of all its methods, and streams", async () => {
    const finish = gate();
    const state = { running: 0, most: 0, done: 0 };
    const handler = async () => {
      state.most = Math.max(state.most, ++state.running);
      await finish.opened;
      state.running--;
      state.done++;
      return {};
    };
    await nats.worker(
      {
        get: handler,
        two: handler,
        async *down() {
          await handler();
          yield {};
        },
      },
      { directConcurrency: 3 },
    );
    const client = await nats.client();
    const calls = Array.from({ length: 12 }, () => [
      client.get({}),
      client.two({}),
      collect(client.down({})),
    ]).flat();
    await until(() => state.running === 3);
    await delay(100);
    expect(state.most).toBe(3);
    finish.open();
    await Promise.all(calls);
    expect([state.most, state.done]).toEqual([3, 36]);
  });

  test("a worker that drains ends when the last call that waited is answered at once", async () => {
    const started = gate();
    const finish = gate();
    const worker = await nats.worker(
      {
        get: async () => {
          started.open();
          await finish.opened;
          return {};
        },
        two: () => ({ text: "at once" }),
      },
      // Longer than a test may take.
      { directConcurrency: 1, drainTimeoutMs: 600_000 },
    );
    const { nats: root } = await nats.connect();
    const waits = gate();
    root.subscribe("test.v1.TestService.wait.Two", { callback: () => waits.open() });
    await root.flush();
    const client = await nats.client();
    const held = client.get({});
    await started.opened;
    // The server knows that the worker has left the queue group.
    await worker.connection.nats.flush();
    const waiting = client.two({});
    await waits.opened;
    const drained = worker.drain();
    finish.open();
    expect((await waiting).text).toBe("at once");
    await Promise.all([held, drained]);
  });

  test("leaves a busy worker alone: an idle one takes the next call", async () => {
    const finish = gate();
    let busy = 0;
    const worker = await nats.worker({
      two: async () => {
        busy++;
        await finish.opened;
        return { text: "busy" };
      },
    });
    const client = await nats.client();
    const held = [client.two({}), client.two({})];
    await until(() => busy === 2);
    // The server knows that the worker has left the queue group.
    await worker.connection.nats.flush();
    await nats.worker({ two: () => ({ text: "idle" }) });
    for (let i = 0; i < 20; i++) {
      expect((await client.two({})).text).toBe("idle");
    }
    finish.open();
    await Promise.all(held);
  });

  test("does not let a waiting call run that was canceled or is out of time", async () => {
    const finish = gate();
    const ran: string[] = [];
    const worker = await nats.worker({
      two: async ({ text }) => {
        ran.push(text);
        await finish.opened;
        return {};
      },
    });
    const connection = await nats.connect({ as: "client" });
    const client = createClient<TestClient>(TestService, connection);
    const held = [client.two({ text: "a" }), client.two({ text: "b" })];
    await until(() => ran.length === 2);
    const controller = new AbortController();
    const canceled = client.two({ text: "canceled" }, { signal: controller.signal });
    const late = client.two({ text: "late" }, { timeoutMs: 100 });
    const waits = client.two({ text: "waits" });
    await expect(late).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    controller.abort();
    await expect(canceled).rejects.toMatchObject({ code: Code.Canceled });
    // The worker has heard of it. Its own time for the late one began after the client's.
    await connection.nats.flush();
    await worker.connection.nats.flush();
    await delay(500);
    finish.open();
    await Promise.all([...held, waits]);
    expect(ran).toEqual(["a", "b", "waits"]);
  });
});

describe("the life of workers", () => {
  test("a rolling restart under load fails no call", async () => {
    const impl = {
      get: async () => {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
        return {};
      },
      async *down() {
        for (let index = 0; index < 20; index++) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          yield { index };
        }
      },
    };
    let workers = [await nats.worker(impl, patientDrain), await nats.worker(impl, patientDrain)];
    const client = await nats.client();
    let isOver = false;
    const calls = { unary: 0, streams: 0 };
    const load = [
      ...Array.from({ length: 16 }, async () => {
        while (!isOver) {
          await client.get({});
          calls.unary++;
        }
      }),
      ...Array.from({ length: 8 }, async () => {
        while (!isOver) {
          let expected = 0;
          for await (const { index } of client.down({})) {
            expect(index).toBe(expected++);
          }
          expect(expected).toBe(20);
          calls.streams++;
        }
      }),
    ];
    for (let round = 0; round < 5; round++) {
      const before = { ...calls };
      await until(() => calls.unary > before.unary + 10 && calls.streams > before.streams + 10);
      const next = [];
      for (const worker of workers) {
        next.push(await nats.worker(impl, patientDrain));
        await worker.drain();
      }
      workers = next;
    }
    isOver = true;
    await Promise.all(load);
  });

  test("kill -9 under load fails calls in flight only, as Unavailable", async () => {
    const survivor = await nats.worker({ get: () => ({}) });
    const root = await nats.connect();
    const [own] = await listedServices(root, 1);
    const victim = start("stream-peer.mjs", nats.environment("worker"), "answer");
    await victim.says("ready");
    const lost = (await listedServices(root, 2)).find(({ id }) => id !== own?.id);
    const client = await nats.client();
    const failures: unknown[] = [];
    let killedAt = Number.POSITIVE_INFINITY;
    let isOver = false;
    let startedLater = 0;
    const load = Array.from({ length: 32 }, async () => {
      while (!isOver) {
        const startedAt = performance.now();
        try {
          await client.get({});
          if (startedAt > killedAt) {
            startedLater++;
          }
        } catch (error) {
          failures.push(error);
          expect(startedAt).toBeLessThanOrEqual(killedAt);
        }
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await victim.end("SIGKILL");
    // A busy server learns of it later, and leads calls to it until then.
    await until(() =>
      root.nats.request(`$SRV.PING.test_v1_TestService.${lost?.id}`, "", { timeout: 500 }).then(
        () => false,
        (error) => error instanceof errors.RequestError && error.isNoResponders(),
      ),
    );
    killedAt = performance.now();
    await until(() => startedLater > 1000);
    isOver = true;
    await Promise.all(load);
    for (const error of failures) {
      expect(error).toBeInstanceOf(ConnectError);
      expect(error).toMatchObject({ code: Code.Unavailable });
    }
    await survivor.drain();
  });

  test("calls find workers that start later, and connections that were there before", async () => {
    const client = await nats.client();
    await expect(client.get({})).rejects.toMatchObject({ code: Code.Unavailable });
    await nats.worker({ get: () => ({ text: "here" }) });
    expect((await client.get({})).text).toBe("here");
  });
});

test.each([
  ["concurrency", 0],
  ["concurrency", 1.5],
  ["directConcurrency", -1],
  ["drainTimeoutMs", Number.NaN],
])("no worker starts with %s %d", async (option, value) => {
  await expect(nats.worker({ get: () => ({}) }, { [option]: value })).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: expect.stringContaining(`${option} is ${value}`),
  });
});
