import { Code, ConnectError } from "@jetrpc/runtime";
import { createOperator, type DeadLetter } from "@jetrpc/runtime/operator";
import { describe, expect, test } from "vitest";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, failureOf, until, useNats } from "./support.js";

const nats = useNats();

async function operator() {
  return createOperator(await nats.connect({ as: "operator" }), TestService);
}

/** The one dead letter that is there, or comes. */
async function theLetter(): Promise<DeadLetter> {
  const self = await operator();
  let letters: DeadLetter[] = [];
  await until(async () => {
    letters = await collect(self.deadLetters());
    return letters.length > 0;
  });
  expect(letters).toHaveLength(1);
  return letters[0] as DeadLetter;
}

describe("a dead letter", () => {
  test("keeps the request, its metadata, the reason and the attempts", async () => {
    await nats.worker({
      do: () => {
        throw new ConnectError("no luck", Code.Unavailable);
      },
    });
    const client = await nats.client({ owner: "acme" });
    const call = await client.do.submit(
      { text: "keep me", count: 7 },
      { callId: "dead-1", headers: { "x-trace": "t" } },
    );
    await expect(call.result()).rejects.toMatchObject({ code: Code.Unavailable });
    const letter = await theLetter();
    expect(letter).toMatchObject({ method: "Do", owner: "acme", callId: "dead-1", attempts: 3 });
    expect(letter.error).toMatchObject({ code: Code.Unavailable, rawMessage: "no luck" });
    expect(await letter.request()).toMatchObject({ text: "keep me", count: 7 });
    expect(letter.requestHeader.get("x-trace")).toBe("t");
    expect(await letter.toJson()).toEqual({
      method: "Do",
      callId: "dead-1",
      owner: "acme",
      attempts: 3,
      failedAt: expect.stringMatching(/^20\d\d-/),
      error: { code: "unavailable", message: "no luck" },
      headers: { "x-trace": "t" },
      request: { text: "keep me", count: 7 },
    });
  });

  test("is replayed with its id, and gone then", async () => {
    let isMended = false;
    await nats.worker({
      do: (request, context) => {
        if (!isMended) {
          throw new ConnectError("bad", Code.InvalidArgument);
        }
        return { text: `${request.text} ${context.attempt} ${context.requestHeader.get("x-a")}` };
      },
    });
    const client = await nats.client();
    const call = await client.do.submit(
      { text: "again" },
      { callId: "r", headers: { "x-a": "b" } },
    );
    await expect(call.result()).rejects.toMatchObject({ code: Code.InvalidArgument });
    const letter = await theLetter();
    isMended = true;
    await letter.replay();
    const attached = (await nats.client()).do.attach("r");
    expect((await attached.result()).text).toBe("again 1 b");
    expect(await collect((await operator()).deadLetters())).toEqual([]);
  });

  test("with a large request is replayed whole, or discarded with it", async () => {
    let isMended = false;
    await nats.worker({
      do: (request) => {
        if (!isMended) {
          throw new ConnectError("bad", Code.InvalidArgument);
        }
        return { index: request.data.length };
      },
    });
    const client = await nats.client();
    const size = 2_000_000;
    const call = await client.do.submit({ data: new Uint8Array(size) }, { callId: "big" });
    await expect(call.result()).rejects.toMatchObject({ code: Code.InvalidArgument });
    isMended = true;
    await (await theLetter()).replay();
    expect((await client.do.attach("big").result()).index).toBe(size);
    isMended = false;
    await expect(client.do({ data: new Uint8Array(size) })).rejects.toThrow();
    const letter = await theLetter();
    await letter.discard();
    await expect(letter.requestBytes()).rejects.toMatchObject({ code: Code.DataLoss });
    expect(await collect((await operator()).deadLetters())).toEqual([]);
  });

  test("is made of what cannot be decoded, and of what names no call", async () => {
    await nats.worker({ do: () => ({}) });
    const { nats: nc } = await nats.connect();
    nc.publish("test.v1.TestService.queue.Do._._.garbage", new Uint8Array([255, 255]));
    nc.publish("test.v1.TestService.queue.Do.stray", "x");
    const self = await operator();
    await until(async () => (await collect(self.deadLetters())).length === 2);
    const letters = await collect(self.deadLetters());
    const garbage = letters.find(({ callId }) => callId === "garbage");
    expect(garbage?.error.code).toBe(Code.InvalidArgument);
    expect(await garbage?.toJson()).toMatchObject({
      requestBase64: "//8=",
      requestError: expect.stringContaining("cannot parse 2 bytes"),
    });
    await expect((await nats.client()).do.attach("garbage").result()).rejects.toMatchObject({
      code: Code.InvalidArgument,
    });
  });

  test("is found by method, owner and call id", async () => {
    await nats.worker({
      do: () => {
        throw new ConnectError("bad", Code.InvalidArgument);
      },
      picky: () => {
        throw new ConnectError("bad", Code.InvalidArgument);
      },
    });
    const [a, b] = [await nats.client({ owner: "a" }), await nats.client({ owner: "b" })];
    for (const call of [
      await a.do.submit({}, { callId: "one" }),
      await b.do.submit({}, { callId: "one" }),
      await b.picky.submit({}, { callId: "two" }),
    ]) {
      await expect(call.result()).rejects.toThrow();
    }
    const self = await operator();
    const names = async (filter: object) =>
      (await collect(self.deadLetters(filter))).map((l) => `${l.method} ${l.owner} ${l.callId}`);
    await until(async () => (await names({})).length === 3);
    expect(await names({ owner: "b" })).toEqual(["Do b one", "Picky b two"]);
    expect(await names({ method: "Do" })).toEqual(["Do a one", "Do b one"]);
    expect(await names({ owner: "b", callId: "two" })).toEqual(["Picky b two"]);
    expect(await names({ callId: "one" })).toEqual(["Do a one", "Do b one"]);
    expect(await names({ method: "picky" })).toEqual(["Picky b two"]);
    expect(await names({ method: "Urgent" })).toEqual([]);
    // A wildcard would be the letters of others.
    for (const filter of [{ owner: "*" }, { owner: "b._" }, { callId: "*" }, { callId: "a b" }]) {
      expect(await failureOf(names(filter))).toMatchObject({ code: Code.InvalidArgument });
    }
    for (const method of ["*", ">", "Do.a", "Doo", "Get", "get", ""]) {
      expect(await failureOf(names({ method }))).toMatchObject({
        code: Code.InvalidArgument,
        rawMessage: `test.v1.TestService has no durable method "${method}": it has Do, Limited, Count, Resume, Global, Urgent, Picky`,
      });
    }
  });

  test("is made of a queued call whose method is gone, when that is asked for", async () => {
    await nats.worker({ do: () => ({}) });
    const { nats: nc } = await nats.connect();
    await nc.request("test.v1.TestService.queue.Gone._._.old", "x");
    const endOf = async () => {
      const subject = "test.v1.TestService.log.Gone._._.old.entry";
      return (await nc.request(`$JS.API.DIRECT.GET.TEST_LOG.${subject}`)).headers;
    };
    expect((await endOf())?.code).toBe(404);
    // It blocks nobody.
    await (await nats.client()).do({});
    const self = await operator();
    expect(await self.buryStrays()).toBe(1);
    expect(await self.buryStrays()).toBe(0);
    expect((await endOf())?.get("Jetrpc-Entry")).toBe("end 0 failed");
    const letter = await theLetter();
    expect(letter).toMatchObject({ method: "Gone", callId: "old" });
    expect(letter.error.code).toBe(Code.Unimplemented);
    await expect(letter.replay()).rejects.toMatchObject({ code: Code.Unimplemented });
    await expect(letter.request()).rejects.toMatchObject({ code: Code.Unimplemented });
    expect(await letter.toJson()).toMatchObject({ requestBase64: "eA==" });
    await letter.discard();
  });
});

test("a call whose method is gone is buried with a request that fills its message", async () => {
  await nats.worker({ do: () => ({}) });
  const { nats: nc } = await nats.connect();
  const request = new Uint8Array((nc.info?.max_payload ?? 0) - 100).fill(1);
  await nc.request("test.v1.TestService.queue.Gone._._.full", request);
  const self = await operator();
  expect(await self.buryStrays()).toBe(1);
  const letter = await theLetter();
  expect(letter.callId).toBe("full");
  // toEqual() takes half a minute.
  expect(Buffer.compare(await letter.requestBytes(), request)).toBe(0);
});

test("a stray that cannot be buried keeps no other from it", async () => {
  await nats.worker({ do: () => ({}) });
  const { nats: nc } = await nats.connect();
  const prefix = "test.v1.TestService";
  await nc.request(`${prefix}.queue.Gone._._.one`, new Uint8Array(10_000));
  await nc.request(`${prefix}.queue.Gone._._.two`, "x");
  const info = await nc.request("$JS.API.STREAM.INFO.TEST_DEAD");
  const { config } = info.json<{ config: object }>();
  const less = JSON.stringify({ ...config, max_msg_size: 5_000 });
  await nc.request("$JS.API.STREAM.UPDATE.TEST_DEAD", less);
  const self = await operator();
  await expect(self.buryStrays()).rejects.toMatchObject({ code: Code.ResourceExhausted });
  expect((await theLetter()).callId).toBe("two");
});

test("delayed calls whose method is gone are buried, too, wherever they wait", async () => {
  await nats.worker({ do: () => ({}) });
  const { nats: nc } = await nats.connect();
  const prefix = "test.v1.TestService";
  await nc.request(`${prefix}.later.Gone._._.one`, "x");
  await nc.request(`${prefix}.due.queue.Gone._._.two`, "x");
  const self = await operator();
  expect(await self.buryStrays()).toBe(2);
  expect(await self.buryStrays()).toBe(0);
  const letters = await collect(self.deadLetters({ method: "Gone" }));
  expect(letters.map(({ callId }) => callId).sort()).toEqual(["one", "two"]);
});

describe("a pause", () => {
  test("lets nothing start until it is over", async () => {
    let runs = 0;
    await nats.worker({ do: () => ({ index: ++runs }), picky: () => ({}) });
    const self = await operator();
    await self.pause("Do");
    const client = await nats.client();
    const call = await client.do.submit({});
    await client.picky({});
    expect(runs).toBe(0);
    const [queue] = (await self.queues()).filter(({ method }) => method === "Do");
    expect(queue).toMatchObject({ queued: 1, running: 0, pausedUntil: expect.any(Date) });
    await self.resume("do");
    expect((await call.result()).index).toBe(1);
    const [after] = (await self.queues()).filter(({ method }) => method === "Do");
    expect(after).toMatchObject({ queued: 0 });
    expect(after?.pausedUntil).toBeUndefined();
  });

  test("ends by itself at its time", async () => {
    await nats.worker({ do: () => ({ text: "on" }) });
    await (await operator()).pause("Do", new Date(Date.now() + 500));
    expect((await (await nats.client()).do({})).text).toBe("on");
  });

  test.each([[new Date("2020-01-01")], [new Date(Number.NaN)]])(
    "until %s, which is no time to come, is refused",
    async (time) => {
      await nats.worker({ do: () => ({}) });
      await expect((await operator()).pause("Do", time)).rejects.toMatchObject({
        code: Code.InvalidArgument,
      });
    },
  );

  test.each([["Nothing"], ["Get"]])("of %s is refused", async (method) => {
    await nats.worker({ do: () => ({}) });
    await expect((await operator()).pause(method)).rejects.toMatchObject({
      code: Code.InvalidArgument,
    });
  });
});
