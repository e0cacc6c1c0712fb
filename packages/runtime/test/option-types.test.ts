import type {
  BlobInfo,
  CallOptions,
  ConnectionOptions,
  DiscoveryOptions,
  MessagesOptions,
  ProgressReport,
  RetryOptions,
  SignalOptions,
  SubmitOptions,
  WaitOptions,
  WorkerOptions,
} from "@jetrpc/runtime";
import type { ConnectOptions, ServeOptions } from "@jetrpc/runtime/node";
import type { ApplyOptions, DeadLetterFilter, Grant, SweepOptions } from "@jetrpc/runtime/operator";
import type { FindNatsServerOptions, NatsOptions, TestTransportOptions } from "@jetrpc/testing";
import { expect, test } from "vitest";
import { useNats } from "./support.js";

/** Names of the options that may be left out, and may not be undefined. */
type Strict<T> = {
  [K in keyof T]-?: object extends Pick<T, K>
    ? { [P in K]: undefined } extends Pick<T, K>
      ? never
      : K
    : never;
}[keyof T];

/** Compiles when no option is strict: under exactOptionalPropertyTypes `{ a: given.a }` has to. */
function mayBeUndefined<T>(..._: Strict<T> extends never ? [] : [Strict<T>]): void {}

mayBeUndefined<ConnectOptions>();
mayBeUndefined<ServeOptions>();
mayBeUndefined<ConnectionOptions>();
mayBeUndefined<WorkerOptions>();
mayBeUndefined<CallOptions>();
mayBeUndefined<SubmitOptions>();
mayBeUndefined<SignalOptions>();
mayBeUndefined<WaitOptions>();
mayBeUndefined<MessagesOptions>();
mayBeUndefined<RetryOptions>();
mayBeUndefined<DiscoveryOptions>();
mayBeUndefined<BlobInfo>();
mayBeUndefined<ProgressReport>();
mayBeUndefined<DeadLetterFilter>();
mayBeUndefined<SweepOptions>();
mayBeUndefined<ApplyOptions>();
mayBeUndefined<Grant>();
mayBeUndefined<NatsOptions>();
mayBeUndefined<FindNatsServerOptions>();
mayBeUndefined<TestTransportOptions>();
// @ts-expect-error this very check can fail
mayBeUndefined<{ strict?: number }>();

const nats = useNats();

test("an option that is undefined is one that is left out", async () => {
  const connection = { owner: undefined, interceptors: undefined, domain: undefined };
  const more = { inboxPrefix: undefined, onWaiting: undefined, closeTimeoutMs: undefined };
  const limits = { readMaxBytes: undefined, writeMaxBytes: undefined };
  const handler = (
    { text }: { text: string },
    context: { progress(report: ProgressReport): void },
  ) => {
    context.progress({ done: 1, total: undefined, message: undefined });
    return { text };
  };
  await nats.worker(
    { do: handler },
    {
      concurrency: undefined,
      directConcurrency: undefined,
      interceptors: undefined,
      answerUnimplemented: undefined,
      revealErrors: undefined,
      version: undefined,
      drainTimeoutMs: undefined,
      logger: undefined,
      ...limits,
    },
  );
  const client = await nats.client({ ...connection, ...more, ...limits });
  const options = { headers: undefined, signal: undefined, timeoutMs: undefined };
  expect(await client.do({ text: "a" }, options)).toMatchObject({ text: "a" });
  const submit = { callId: undefined, notBefore: undefined, priority: undefined };
  const call = await client.do.submit({ text: "b" }, { ...options, ...submit });
  expect(await call.result({ signal: undefined, timeoutMs: undefined })).toMatchObject({
    text: "b",
  });
});
