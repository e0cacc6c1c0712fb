import { Code, ConnectError } from "@jetrpc/runtime";
import { act, renderHook, waitFor } from "@testing-library/react";
import { StrictMode } from "react";
import { expect, expectTypeOf, test } from "vitest";
import type { Response } from "../../runtime/test/gen/test/v1/test_pb.js";
import { useNats as provideNats } from "../../runtime/test/support.js";
import { useCall, useSubmit } from "../src/index.js";
import { watchReact } from "./react.js";

const nats = provideNats();
watchReact();

test("a call is submitted, and followed by its id", async () => {
  const client = await nats.client();
  await nats.worker({ do: ({ text }) => ({ text: `${text}!` }) });
  const { result } = renderHook(
    () => {
      const submission = useSubmit(client.do);
      return { ...submission, call: useCall(client.do, submission.callId) };
    },
    { wrapper: StrictMode },
  );
  expect(result.current).toMatchObject({ isSubmitting: false, callId: undefined });
  expect(result.current.call.state).toBe("idle");

  const submitted = act(() => result.current.submit({ text: "x" }, { callId: "one" }));
  const call = await submitted;
  expect(call?.id).toBe("one");
  expect(result.current).toMatchObject({ isSubmitting: false, callId: "one", error: undefined });
  await waitFor(() => expect(result.current.call.state).toBe("succeeded"), { timeout: 60_000 });
  expectTypeOf(result.current.call.result).toEqualTypeOf<Response | undefined>();
  expect(result.current.call.result?.text).toBe("x!");

  // The id is taken: the call that was accepted stays.
  expect(await act(() => result.current.submit({ text: "y" }, { callId: "one" }))).toBeUndefined();
  expect(result.current.error?.code).toBe(Code.AlreadyExists);
  expect(result.current.callId).toBe("one");

  act(() => result.current.reset());
  expect(result.current).toMatchObject({ callId: undefined, error: undefined });
});

test("the answer to an earlier submission does not replace that to the last one", async () => {
  const client = await nats.client();
  const { submit } = client.count;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const method = Object.assign(client.count.bind(null), client.count, {
    submit: async (...[request, options]: Parameters<typeof submit>) => {
      if (options?.callId === "slow") {
        await held;
      }
      return submit(request, options);
    },
  });
  const { result } = renderHook(() => useSubmit(method), { wrapper: StrictMode });
  let slow: Promise<unknown> | undefined;
  act(() => {
    slow = result.current.submit({}, { callId: "slow" });
  });
  expect(result.current.isSubmitting).toBe(true);
  await act(() => result.current.submit({}, { callId: "last" }));
  release();
  await act(async () => {
    await slow;
  });
  expect(result.current).toMatchObject({ callId: "last", isSubmitting: false });
});

test("another method begins anew: the id of a call says nothing of calls of that one", async () => {
  const client = await nats.client();
  await nats.worker({ do: ({ text }) => ({ text }) });
  const { result, rerender } = renderHook(
    ({ method }) => {
      const submission = useSubmit(method);
      return { ...submission, call: useCall(method, submission.callId) };
    },
    { wrapper: StrictMode, initialProps: { method: client.do } },
  );
  await act(() => result.current.submit({ text: "x" }, { callId: "one" }));
  expect(result.current.callId).toBe("one");
  // As of somebody else who has logged in.
  const other = await nats.client();
  rerender({ method: other.do });
  expect(result.current).toMatchObject({ callId: undefined, isSubmitting: false });
  expect(result.current.call.state).toBe("idle");
  await act(() => result.current.submit({ text: "y" }, { callId: "two" }));
  expect(result.current.callId).toBe("two");
});

test("a file that cannot be read any more is an error like others", async () => {
  const client = await nats.client();
  const submit = () =>
    Promise.reject(new DOMException("The requested file could not be read", "NotReadableError"));
  const method = Object.assign(client.do.bind(null), client.do, { submit });
  const { result } = renderHook(() => useSubmit(method), { wrapper: StrictMode });
  expect(await act(() => result.current.submit({}))).toBeUndefined();
  expect(result.current.error).toMatchObject({
    code: Code.Unknown,
    rawMessage: "The requested file could not be read",
  });
});

test("a submission that failed is made again; one whose component is gone does no harm", async () => {
  const client = await nats.client();
  await nats.worker({ do: ({ text }) => ({ text }) });
  const { submit } = client.do;
  let isAway = true;
  const method = Object.assign(client.do.bind(null), client.do, {
    submit: async (...args: Parameters<typeof submit>) => {
      if (isAway) {
        throw new ConnectError("away", Code.Unavailable);
      }
      return submit(...args);
    },
  });
  const { result, unmount } = renderHook(() => useSubmit(method), { wrapper: StrictMode });
  expect(await act(() => result.current.submit({}, { callId: "again" }))).toBeUndefined();
  expect(result.current).toMatchObject({ callId: undefined, isSubmitting: false });
  expect(result.current.error?.code).toBe(Code.Unavailable);
  isAway = false;
  await act(() => result.current.submit({}, { callId: "again" }));
  expect(result.current).toMatchObject({ callId: "again", error: undefined });
  let last: Promise<unknown> | undefined;
  act(() => {
    last = result.current.submit({}, { callId: "last" });
  });
  unmount();
  expect(await last).toMatchObject({ id: "last" });
});
