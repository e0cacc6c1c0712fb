import { Code, ConnectError } from "@jetrpc/runtime";
import { type BulkProgress, createOperator, type Operator } from "@jetrpc/runtime/operator";
import { describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, failureOf, until, useNats } from "./support.js";

const nats = useNats();

async function operator(): Promise<Operator> {
  return createOperator(await nats.connect({ as: "operator" }), TestService);
}

async function bury(self: Operator, count: number): Promise<void> {
  const client = await nats.client();
  const calls = await Promise.all(
    Array.from({ length: count }, (_, n) => client.do.submit({ text: "x" }, { callId: `d${n}` })),
  );
  await Promise.all(calls.map((call) => failureOf(call.result())));
  await until(async () => (await collect(self.deadLetters())).length === count);
}

describe("an act on many calls", () => {
  test("that is cut short and begun again replays each dead letter once", async () => {
    const runs = new Map<string, number>();
    const worker = await nats.worker(
      {
        do: (_request, { callId }) => {
          runs.set(callId, (runs.get(callId) ?? 0) + 1);
          throw new ConnectError("no", Code.InvalidArgument);
        },
      },
      { concurrency: 50 },
    );
    const count = 300;
    const first = await operator();
    await bury(first, count);
    const dry = await first.actOnCalls("replay", { method: "do" }, { dryRun: true });
    expect(dry).toMatchObject({ matched: count, done: 0, isComplete: true });
    // Its connection is lost in the middle of a step, as if its process had been killed.
    const connection = await nats.connect({ as: "operator", keep: true });
    const tokens: string[] = [];
    const killed = createOperator(connection, TestService).actOnCalls(
      "replay",
      { method: "do" },
      {
        onProgress({ resumeToken }) {
          tokens.push(resumeToken);
          if (tokens.length === 3) {
            setTimeout(() => connection.close(), 5);
          }
        },
      },
    );
    await failureOf(killed);
    await until(() => [...runs.values()].filter((times) => times === 2).length > 64);
    const rest = await first.actOnCalls(
      "replay",
      { method: "do" },
      { resumeToken: tokens.at(-1) as string },
    );
    expect(rest).toMatchObject({ failed: 0, isComplete: true });
    expect(rest.matched).toBeLessThan(count);
    await until(async () => (await collect(first.deadLetters())).length === count);
    expect([...runs.values()].filter((times) => times !== 2)).toEqual([]);
    await worker.drain();
  });

  test("cancels what has not ended, and stops where its signal says so", async () => {
    const client = await nats.client({ owner: "acme" });
    const later = new Date(Date.now() + 3_600_000);
    for (let index = 0; index < 70; index++) {
      const notBefore = index % 2 === 0 ? later : undefined;
      await client.urgent.submit({ text: "q" }, { callId: `c${index}`, notBefore });
    }
    await (await nats.client()).urgent.submit({ text: "q" }, { callId: "other" });
    const self = await operator();
    const filter = { owner: "acme" };
    const stop = new AbortController();
    const part = await self.actOnCalls("cancel", filter, {
      signal: stop.signal,
      onProgress: ({ done }) => done > 0 && stop.abort(),
    });
    expect(part).toMatchObject({ matched: 64, done: 64, isComplete: false });
    const all: BulkProgress[] = [];
    const rest = await self.actOnCalls("cancel", filter, { onProgress: (p) => all.push(p) });
    expect(rest).toMatchObject({ done: 6, failed: 0, isComplete: true });
    expect(all.at(-1)).toEqual(rest);
    const states = (await collect(self.calls(filter))).map(({ state }) => state);
    expect(states).toEqual(Array.from({ length: 70 }, () => "cancelled"));
    const left = await collect(self.calls({ states: ["queued"] }));
    expect(left.map(({ callId }) => callId)).toEqual(["other"]);
  });

  test("discards dead letters, and says for which calls it failed", async () => {
    await nats.worker({
      do: () => {
        throw new ConnectError("no", Code.InvalidArgument);
      },
    });
    const self = await operator();
    await bury(self, 5);
    const some = await self.actOnCalls("discard", { callIdPrefix: "d1" });
    expect(some).toMatchObject({ matched: 1, done: 1, skipped: 0, failures: [] });
    expect(await self.actOnCalls("discard", { callId: "d2" })).toMatchObject({ done: 1 });
    expect(await collect(self.deadLetters())).toHaveLength(3);
    for (const refused of [
      self.actOnCalls("replay", { states: ["succeeded"] }),
      self.actOnCalls("cancel", { states: ["failed"] }),
      self.actOnCalls("replay", {}, { resumeToken: "x" }),
    ]) {
      expect(await failureOf(refused)).toMatchObject({ code: Code.InvalidArgument });
    }
  });
});
