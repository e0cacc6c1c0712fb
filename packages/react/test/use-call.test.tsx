import { Code, ConnectError, createClient } from "@jetrpc/runtime";
import { act, render, renderHook, screen, waitFor } from "@testing-library/react";
import { StrictMode, Suspense } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { expect, expectTypeOf, test, vi } from "vitest";
import type { Response } from "../../runtime/test/gen/test/v1/test_pb.js";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import {
  gate,
  useNats as provideNats,
  type TestClient,
  until,
} from "../../runtime/test/support.js";
import { type StreamingCallView, useCall } from "../src/index.js";
import { watchReact } from "./react.js";

const nats = provideNats();
watchReact();

const strict = { wrapper: StrictMode };

/** Waits for what a hook shows. */
const patiently = { timeout: 60_000 };

/** What a component shows of a call, each time that it renders. */
function follow(client: TestClient, callId: string | undefined) {
  const shown: StreamingCallView<Response>[] = [];
  const hook = renderHook(
    ({ id }) => {
      const view = useCall(client.count, id);
      shown.push(view);
      return view;
    },
    { ...strict, initialProps: { id: callId } },
  );
  return { ...hook, shown };
}

interface Followed {
  method: TestClient["count"];
  id?: string;
}

function Count({ name, method, id }: Followed & { name: string }) {
  const { messages } = useCall(method, id);
  return (
    <p>
      {name} {messages.length}
    </p>
  );
}

/** A line of a list. */
function State({ method, id }: Required<Followed>) {
  return useCall(method, id, { messages: false, progress: false }).state;
}

interface Hold {
  isHeld: boolean;
  readonly promise: Promise<void>;
  release(): void;
}

function hold(): Hold {
  let resolve = () => {};
  const promise = new Promise<void>((its) => {
    resolve = its;
  });
  const held: Hold = {
    isHeld: true,
    promise,
    release() {
      held.isHeld = false;
      resolve();
    },
  };
  return held;
}

/** Suspends while it is held. */
function Slow({ held }: { held: Hold }) {
  if (held.isHeld) {
    throw held.promise;
  }
  return null;
}

function Call({ method, id }: Followed) {
  const { state, messages } = useCall(method, id);
  return `${state} ${messages.length}`;
}

test("a streamed call is queued, runs, and succeeds; its messages appear as they come", async () => {
  const client = await nats.client();
  const go = gate();
  const { id } = await client.count.submit({ text: "x" });
  const { result } = follow(client, id);
  expect(result.current.state).toBe("loading");
  await waitFor(() => expect(result.current.state).toBe("queued"), patiently);
  expect(result.current.callId).toBe(id);

  await nats.worker({
    async *count(_request, context) {
      yield { text: "a" };
      yield { text: "b" };
      context.progress({ done: 2, total: 3, message: "two of them" });
      await go.opened;
      yield { text: "c" };
    },
  });
  await waitFor(() => expect(result.current.messages.length).toBe(2), patiently);
  await waitFor(
    () =>
      expect(result.current).toMatchObject({ state: "running", progress: { done: 2, total: 3 } }),
    patiently,
  );
  const [first] = result.current.messages;

  go.open();
  await waitFor(() => expect(result.current.state).toBe("succeeded"), patiently);
  expect(result.current.messages.map(({ text }) => text)).toEqual(["a", "b", "c"]);
  expect(result.current.messages[0]).toBe(first);
  expect(result.current.error).toBeUndefined();
  expect(await result.current.cancel()).toBe(false);
  expect(result.current.state).toBe("succeeded");
});

test("a call without a worker is queued with none, and one whose worker was lost still runs", async () => {
  const client = await nats.client();
  const { id } = await client.count.submit({});
  const { result } = follow(client, id);
  await waitFor(
    () => expect(result.current).toMatchObject({ state: "queued", status: { workers: 0 } }),
    patiently,
  );
  const go = gate();
  const lost = await nats.worker({
    async *count() {
      yield { text: "a" };
      await go.opened;
    },
  });
  await waitFor(() => expect(result.current.state).toBe("running"), patiently);
  // As a crash: it gives nothing back.
  await lost.connection.nats.close();
  const before = result.current.status;
  await waitFor(() => expect(result.current.status).not.toBe(before), patiently);
  expect(result.current.state).toBe("running");
  expect(result.current.status?.workers).toBeUndefined();
  go.open();
});

test("an answer that is older than a message does not say that the call waits", async () => {
  const client = await nats.client();
  const { id } = await client.count.submit({});
  const asked = gate();
  const answer = gate();
  const attach = (callId: string) => {
    const call = client.count.attach(callId);
    const status = async () => {
      const queued = await call.status();
      asked.open();
      await answer.opened;
      return queued;
    };
    return Object.assign(Object.create(call), { status });
  };
  const method = Object.assign(Object.create(client.count), { attach });
  const { result } = renderHook(() => useCall(method as TestClient["count"], id), strict);
  await asked.opened;
  const go = gate();
  await nats.worker({
    async *count() {
      yield {};
      await go.opened;
    },
  });
  await waitFor(() => expect(result.current.messages.length).toBe(1), patiently);
  answer.open();
  await waitFor(() => expect(result.current.state).not.toBe("loading"), patiently);
  expect(result.current.state).toBe("running");
  go.open();
});

test("types are those of the method", () => {
  const look = (client: TestClient) => ({
    streaming: useCall(client.count, "id"),
    unary: useCall(client.do, "id"),
  });
  type Views = ReturnType<typeof look>;
  expectTypeOf<Views["streaming"]["messages"]>().toEqualTypeOf<readonly Response[]>();
  expectTypeOf<Views["unary"]["result"]>().toEqualTypeOf<Response | undefined>();
  // @ts-expect-error a unary call has no messages
  expectTypeOf<Views["unary"]["messages"]>().toBeAny();
  // @ts-expect-error a direct method has no calls to come back to
  (client: TestClient) => useCall(client.get, "id");
});

test("a unary call shows its progress, and then its result", async () => {
  const client = await nats.client();
  const go = gate();
  await nats.worker({
    async do({ text }, context) {
      context.progress({ done: 1, total: 2 });
      await go.opened;
      return { text: `${text}!` };
    },
  });
  const { id } = await client.do.submit({ text: "x" });
  const { result } = renderHook(() => useCall(client.do, id), strict);
  await waitFor(() => expect(result.current.progress?.done).toBe(1), patiently);
  expect(result.current.result).toBeUndefined();
  go.open();
  await waitFor(() => expect(result.current.state).toBe("succeeded"), patiently);
  expect(result.current.result?.text).toBe("x!");
});

test("a call that had ended before is read; it is not shown as succeeded before all of it is there", async () => {
  const client = await nats.client();
  await nats.worker({
    async *count() {
      for (let number = 0; number < 300; number++) {
        yield { text: String(number) };
      }
    },
  });
  const call = await client.count.submit({});
  for await (const _ of call) {
  }
  const { result, shown } = follow(client, call.id);
  await waitFor(() => expect(result.current.state).toBe("succeeded"), patiently);
  expect(result.current.messages.length).toBe(300);
  for (const { state, messages } of shown) {
    expect(state === "succeeded").toBe(messages.length === 300 && state !== "loading");
  }
});

test("many messages take few renders", async () => {
  const client = await nats.client();
  const count = 5_000;
  await nats.worker({
    async *count() {
      for (let number = 0; number < count; number++) {
        yield { text: String(number) };
      }
    },
  });
  const { id } = await client.count.submit({});
  const began = performance.now();
  const { result, shown } = follow(client, id);
  await waitFor(() => expect(result.current.state).toBe("succeeded"), patiently);
  expect(result.current.messages.length).toBe(count);
  // One for each frame of 16 ms, twice in strict mode: on a busy machine messages come slowly.
  const frames = (performance.now() - began) / 16;
  expect(shown.length).toBeLessThan(Math.max(count / 5, 2 * frames + 10));
});

test("components that look at the same call share one follower, which ends with the last of them", async () => {
  const client = await nats.client();
  const go = gate();
  await nats.worker({
    async *count() {
      yield { text: "a" };
      await go.opened;
      yield { text: "b" };
    },
  });
  const signals: AbortSignal[] = [];
  const attach = vi.fn((id: string) => {
    const call = client.count.attach(id);
    const messages: typeof call.messages = (options) => {
      signals.push(options?.signal as AbortSignal);
      return call.messages(options);
    };
    return { ...call, messages };
  });
  const method = Object.assign(client.count.bind(null), client.count, { attach });
  const { id } = await method.submit({});
  const { rerender, unmount } = render(
    <StrictMode>
      <Count name="one" method={method} id={id} />
      <Count name="two" method={method} id={id} />
      <Count name="three" method={method} id={id} />
    </StrictMode>,
  );
  await screen.findByText("three 1", {}, patiently);
  expect(screen.getByText("one 1")).toBeTruthy();
  rerender(
    <StrictMode>
      <Count name="three" method={method} id={id} />
    </StrictMode>,
  );
  go.open();
  await screen.findByText("three 2", {}, patiently);
  // Who comes late sees all of it at once.
  rerender(
    <StrictMode>
      <Count name="three" method={method} id={id} />
      <Count name="late" method={method} id={id} />
    </StrictMode>,
  );
  expect(screen.getByText("late 2")).toBeTruthy();
  expect(attach).toHaveBeenCalledTimes(1);
  expect(signals.length).toBe(1);
  unmount();

  // A call that still runs: its follower ends with the component.
  const { id: waiting } = await client.count.submit(
    {},
    { notBefore: new Date(Date.now() + 3.6e6) },
  );
  const hook = renderHook(() => useCall(method, waiting), strict);
  await waitFor(() => expect(hook.result.current.state).toBe("scheduled"), patiently);
  expect(signals.map((signal) => signal.aborted)).toEqual([false, false]);
  hook.unmount();
  await vi.waitFor(() => expect(signals[1]?.aborted).toBe(true), patiently);
});

test("a thousand calls that nobody looks at any more are let go and forgotten", async () => {
  const client = await nats.client();
  const signals: AbortSignal[] = [];
  const attach = vi.fn((id: string) => ({
    ...client.count.attach(id),
    // Nothing is ever heard of it.
    status: ({ signal }: { signal: AbortSignal }) => {
      signals.push(signal);
      return new Promise((_, reject) => signal.addEventListener("abort", reject));
    },
  }));
  const method = Object.assign(client.count.bind(null), client.count, { attach });
  const ids = Array.from({ length: 1_000 }, (_, number) => `call-${number}`);
  const lines = ids.map((id) => (
    <State key={id} method={method as never as TestClient["count"]} id={id} />
  ));
  for (const times of [1, 2]) {
    const { unmount } = render(<div>{lines}</div>);
    await waitFor(() => expect(signals.length).toBe(times * ids.length), patiently);
    unmount();
    await waitFor(() => expect(signals.every(({ aborted }) => aborted)).toBe(true), patiently);
    // What was known of them is gone: it is asked for anew.
    expect(attach).toHaveBeenCalledTimes(times * ids.length);
  }
});

test("without an id it is idle; with another id it shows another call", async () => {
  const client = await nats.client();
  await nats.worker({
    async *count({ text }) {
      yield { text };
    },
  });
  const [one, two] = await Promise.all([
    client.count.submit({ text: "1" }),
    client.count.submit({ text: "2" }),
  ]);
  const { result, rerender } = follow(client, undefined);
  expect(result.current).toMatchObject({ state: "idle", messages: [], callId: undefined });
  expect(await result.current.cancel()).toBe(false);
  for (const call of [one, two]) {
    rerender({ id: call.id });
    expect(result.current.messages).toEqual([]);
    await waitFor(() => expect(result.current.state).toBe("succeeded"), patiently);
    expect(result.current.messages.map(({ text }) => text)).toEqual([call === one ? "1" : "2"]);
  }
  rerender({ id: undefined });
  expect(result.current.state).toBe("idle");
});

test("an unknown id is NotFound, whatever of it is looked at", async () => {
  const client = await nats.client();
  // The streams are there.
  await client.count.submit({});
  const unknown = async (options: { messages?: boolean; progress?: boolean }) => {
    const { result } = renderHook(() => useCall(client.count, "nobody", options), strict);
    await waitFor(() => expect(result.current.state).toBe("unknown"), patiently);
    expect(result.current.error?.code).toBe(Code.NotFound);
    expect(result.current.error?.message).toContain("nobody");
  };
  await unknown({});
  await unknown({ messages: false });
  await unknown({ messages: false, progress: false });
});

test("an impossible id is told, and takes nothing of the page away", async () => {
  const client = await nats.client();
  for (const id of ["no id", ""]) {
    const { result } = follow(client, id);
    await waitFor(() => expect(result.current.state).toBe("unknown"), patiently);
    expect(result.current.error?.code).toBe(Code.InvalidArgument);
    await expect(result.current.cancel()).rejects.toMatchObject({ code: Code.InvalidArgument });
  }
});

test("a component beside one that suspends follows once, and shows the end", async () => {
  const client = await nats.client();
  const go = gate();
  await nats.worker({
    async *count() {
      yield { text: "a" };
      await go.opened;
      yield { text: "b" };
    },
  });
  const attach = vi.fn(client.count.attach);
  const method = Object.assign(client.count.bind(null), client.count, { attach });
  const { id } = await method.submit({});
  const page = (held: Hold) => (
    <StrictMode>
      <Suspense fallback="wait">
        <Count name="one" method={method} id={id} />
        <Slow held={held} />
      </Suspense>
    </StrictMode>
  );
  const first = hold();
  const { rerender } = render(page(first));
  expect(screen.getByText("wait")).toBeTruthy();
  await act(async () => first.release());
  await screen.findByText("one 1", {}, patiently);
  // It is hidden, and shown again when the call has ended.
  const second = hold();
  rerender(page(second));
  expect(screen.getByText("wait")).toBeTruthy();
  go.open();
  await until(async () => (await client.count.attach(id).status()).state === "succeeded");
  await act(async () => second.release());
  await screen.findByText("one 2", {}, patiently);
  expect(attach).toHaveBeenCalledTimes(1);
});

test("a call that cannot be followed for a while is unknown until it can be again", async () => {
  const client = await nats.client();
  const go = gate();
  await nats.worker({
    async *count(_request, context) {
      yield { text: "a" };
      await go.opened;
      context.progress({ done: 1, total: 2 });
      yield { text: "b" };
    },
  });
  const { id } = await client.count.submit({});
  let isAway = true;
  const attach = (callId: string) => {
    const call = client.count.attach(callId);
    const check = () => {
      if (isAway) {
        throw new ConnectError("away", Code.Unavailable);
      }
    };
    const guarded = <K extends "messages" | "progress">(verb: K) =>
      async function* (options: object) {
        check();
        yield* call[verb](options) as AsyncIterable<never>;
      };
    const status: typeof call.status = async (options) => {
      check();
      return call.status(options);
    };
    return { ...call, status, messages: guarded("messages"), progress: guarded("progress") };
  };
  const method = Object.assign(client.count.bind(null), client.count, { attach });
  const { result } = renderHook(() => useCall(method as never as typeof client.count, id), strict);
  await waitFor(() => expect(result.current.state).toBe("unknown"), patiently);
  expect(result.current.error?.code).toBe(Code.Unavailable);
  isAway = false;
  await waitFor(() => expect(result.current.state).toBe("running"), patiently);
  expect(result.current.error).toBeUndefined();
  go.open();
  await waitFor(() => expect(result.current.state).toBe("succeeded"), patiently);
  expect(result.current.messages.map(({ text }) => text)).toEqual(["a", "b"]);
});

test("a call that fails shows its error", async () => {
  const client = await nats.client();
  await nats.worker({
    async *count() {
      yield { text: "a" };
      throw new ConnectError("bad page", Code.InvalidArgument);
    },
  });
  const { id } = await client.count.submit({});
  const { result } = follow(client, id);
  await waitFor(() => expect(result.current.state).toBe("failed"), patiently);
  expect(result.current.error).toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: "bad page",
  });
  expect(result.current.messages.length).toBe(1);
});

test("a call of which only the state is looked at shows its end, and its error", async () => {
  const client = await nats.client();
  const go = gate();
  await nats.worker({
    async do({ text }) {
      await go.opened;
      if (text === "bad") {
        throw new ConnectError("bad", Code.InvalidArgument);
      }
      return {};
    },
  });
  const good = await client.do.submit({ text: "good" });
  const bad = await client.do.submit({ text: "bad" });
  const only = { messages: false, progress: false };
  const { result } = renderHook(
    () => [useCall(client.do, good.id, only), useCall(client.do, bad.id, only)] as const,
    strict,
  );
  await waitFor(() => expect(result.current[0].state).not.toBe("loading"), patiently);
  go.open();
  await waitFor(
    () => expect(result.current.map(({ state }) => state)).toEqual(["succeeded", "failed"]),
    patiently,
  );
  expect(result.current[0].result).toBeUndefined();
  expect(result.current[1].error?.code).toBe(Code.InvalidArgument);
});

test("cancel() ends the call, for all who look", async () => {
  const client = await nats.client();
  const other = await nats.client();
  const { id } = await client.count.submit({});
  const { result } = follow(client, id);
  const elsewhere = follow(other, id);
  await waitFor(() => expect(result.current.state).toBe("queued"), patiently);
  const { cancel } = result.current;
  await act(async () => expect(await cancel()).toBe(true));
  await waitFor(() => expect(result.current.state).toBe("cancelled"), patiently);
  await waitFor(() => expect(elsewhere.result.current.state).toBe("cancelled"), patiently);
  expect(result.current.error?.code).toBe(Code.Canceled);
  expect(result.current.cancel).toBe(cancel);
});

test("a call goes on when the server was killed meanwhile", async () => {
  await using server = await nats.start();
  const client = await nats.client({ url: server.url });
  const go = gate();
  await nats.worker(
    {
      async *resume(_request, context) {
        for (let number = context.resumeFrom; number < 200; number++) {
          if (number === 100) {
            await go.opened;
          }
          yield { text: String(number) };
        }
      },
    },
    { url: server.url },
  );
  const { id } = await client.resume.submit({});
  const { result } = renderHook(() => useCall(client.resume, id), strict);
  await waitFor(() => expect(result.current.messages.length).toBe(100), patiently);
  await server.kill();
  go.open();
  await server.restart();
  await waitFor(() => expect(result.current.state).toBe("succeeded"), patiently);
  expect(result.current.messages.map(({ text }) => Number(text))).toEqual(
    Array.from({ length: 200 }, (_, number) => number),
  );
});

test("a server renders it as loading, and a page goes on from there", async () => {
  const connection = await nats.connect({ as: "client" });
  const client = createClient<TestClient>(TestService, connection);
  await nats.worker({
    async *count() {
      yield { text: "a" };
    },
  });
  const { id } = await client.count.submit({});
  expect(renderToString(<Call method={client.count} />)).toBe("idle 0");
  const html = renderToString(<Call method={client.count} id={id} />);
  expect(html).toBe("loading 0");

  const container = document.createElement("div");
  container.innerHTML = html;
  const root = await act(() => hydrateRoot(container, <Call method={client.count} id={id} />));
  await waitFor(() => expect(container.textContent).toBe("succeeded 1"), patiently);
  await act(() => root.unmount());
});
