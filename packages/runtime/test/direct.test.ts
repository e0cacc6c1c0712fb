import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@jetrpc/runtime";
import { describe, expect, test } from "vitest";
import { gate, lateOnceBegun, patientDrain, useNats } from "./support.js";

const nats = useNats();

describe("a direct unary call", () => {
  test("brings the request to a handler and its response back", async () => {
    await nats.worker({
      get: (request, context) => ({
        text: `${context.method.name}: ${request.text}`,
        data: request.data,
      }),
    });
    const client = await nats.client();
    const response = await client.get({ text: "hello", data: new Uint8Array([1, 2, 3]) });
    expect(response.text).toBe("Get: hello");
    expect([...response.data]).toEqual([1, 2, 3]);
  });

  test("fails with Unavailable at once when no worker serves the method", async () => {
    const client = await nats.client();
    await expect(client.get({}, { timeoutMs: 60_000 })).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("test.v1.TestService.Get"),
    });
  });

  test("brings code, message, details and metadata of an error to the caller", async () => {
    await nats.worker({
      get: () => {
        throw new ConnectError("no such\nthing: ä €", Code.NotFound, { "x-hint": "look there" }, [
          { desc: DurationSchema, value: { seconds: 7n } },
        ]);
      },
    });
    const client = await nats.client();
    const error = await client.get({}).catch((e) => e);
    expect(error).toBeInstanceOf(ConnectError);
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toBe("no such\nthing: ä €");
    expect(error.metadata.get("x-hint")).toBe("look there");
    expect(error.findDetails(DurationSchema)).toEqual([create(DurationSchema, { seconds: 7n })]);
  });

  test.each([
    [
      "a plain Error",
      () => {
        throw new Error("secret");
      },
    ],
    [
      "a string",
      () => {
        throw "secret";
      },
    ],
    [
      "a rejection",
      async () => {
        throw new TypeError("secret");
      },
    ],
  ])("hides %s behind Internal, and logs it", async (_what, handler) => {
    const worker = await nats.worker({ get: handler as () => never });
    const client = await nats.client();
    const error = await client.get({}).catch((e) => e);
    expect(error.code).toBe(Code.Internal);
    expect(error.message).not.toContain("secret");
    expect(JSON.stringify([...error.metadata])).not.toContain("secret");
    expect(worker.logged).toHaveLength(1);
    expect(String(worker.logged[0]?.error)).toContain("secret");
  });

  test("carries metadata both ways, leading and trailing", async () => {
    await nats.worker({
      get: (_request, context) => {
        context.responseHeader.set("x-leading", `${context.requestHeader.get("x-asked")}!`);
        context.responseTrailer.set("x-trailing", "end");
        return {};
      },
    });
    const client = await nats.client();
    let leading: string | null = null;
    let trailing: string | null = null;
    await client.get(
      {},
      {
        headers: { "x-asked": "yes" },
        onHeader: (header) => {
          leading = header.get("x-leading");
          expect(header.get("x-trailing")).toBeNull();
        },
        onTrailer: (trailer) => {
          trailing = trailer.get("x-trailing");
        },
      },
    );
    expect([leading, trailing]).toEqual(["yes!", "end"]);
  });

  test("ends on both sides when the deadline is over", async () => {
    const aborted = gate();
    const seen: (number | undefined)[] = [];
    await nats.worker({
      get: async (_request, context) => {
        seen.push(context.timeoutMs());
        context.signal.addEventListener("abort", aborted.open);
        await aborted.opened;
        return {};
      },
    });
    const client = await nats.client();
    await lateOnceBegun(
      () => seen.length,
      () => client.get({}, { timeoutMs: 200 }),
    );
    expect(seen[0]).toBeLessThanOrEqual(200);
    await aborted.opened;
  });

  test("takes the method's own timeout when the caller names none", async () => {
    await nats.worker({ slow: () => new Promise(() => undefined) });
    const client = await nats.client();
    await expect(client.slow({})).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("ends with Canceled when its signal fires", async () => {
    const started = gate();
    await nats.worker({
      get: () => {
        started.open();
        return new Promise(() => undefined);
      },
    });
    const client = await nats.client();
    const controller = new AbortController();
    const call = client.get({}, { signal: controller.signal });
    await started.opened;
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: Code.Canceled });
    await expect(client.get({}, { signal: controller.signal })).rejects.toMatchObject({
      code: Code.Canceled,
    });
  });

  test("carries payloads above the server's max_payload", async () => {
    await nats.worker({ get: (request) => ({ data: request.data.reverse() }) });
    const client = await nats.client();
    const data = new Uint8Array(3 * 1024 * 1024 + 7).map((_, i) => i * 31);
    const response = await client.get({ data });
    expect(Buffer.compare(response.data, data.slice().reverse())).toBe(0);
  });

  test("survives garbage: the sender gets an error, the worker goes on", async () => {
    await nats.worker({ get: (request) => ({ text: request.text }) });
    const connection = await nats.connect();
    const reply = await connection.nats.request(
      "test.v1.TestService.rpc.Get",
      new Uint8Array([255, 255, 255, 1]),
    );
    expect(reply.headers?.get("Nats-Service-Error-Code")).toBe(String(Code.InvalidArgument));
    const client = await nats.client();
    expect((await client.get({ text: "on" })).text).toBe("on");
  });

  test("may be made by hand, in JSON", async () => {
    await nats.worker({
      get: (request) => {
        if (request.text === "") {
          throw new ConnectError("say something", Code.InvalidArgument);
        }
        return { text: request.text, data: new Uint8Array([1, 2]) };
      },
    });
    const connection = await nats.connect();
    const ask = async (body: string, contentType = "application/json") => {
      const { headers } = await import("@nats-io/transport-node");
      const header = headers();
      header.set("Content-Type", contentType);
      const subject = "test.v1.TestService.rpc.Get";
      return await connection.nats.request(subject, body, { headers: header, timeout: 60_000 });
    };
    const reply = await ask('{ "text": "hello" }');
    expect(reply.headers?.get("Content-Type")).toBe("application/json");
    expect(reply.json()).toEqual({ text: "hello", data: "AQI=" });
    for (const body of ["{}", ""]) {
      const refused = await ask(body);
      expect(refused.json()).toEqual({ code: "invalid_argument", message: "say something" });
      expect(refused.headers?.get("Nats-Service-Error-Code")).toBe("3");
    }
    const garbage = await ask("{ no json");
    expect(garbage.headers?.get("Nats-Service-Error-Code")).toBe("3");
    const untold = await ask('{ "text": "hello" }', "application/protobuf");
    expect(untold.headers?.get("Nats-Service-Error")).toContain("Content-Type: application/json");
    const unknown = await ask("<xml/>", "text/xml");
    expect(unknown.headers?.get("Nats-Service-Error")).toContain("text/xml");
  });

  test("fails with Unavailable at once when the connection is lost", async () => {
    await using server = await nats.start();
    const started = gate();
    await nats.worker(
      {
        get: () => {
          started.open();
          return new Promise(() => undefined);
        },
      },
      { url: server.url },
    );
    const client = await nats.client({ url: server.url });
    const call = client.get({}, { timeoutMs: 600_000 });
    call.catch(() => undefined);
    await started.opened;
    await server.stop();
    await expect(call).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("may have run"),
    });
    await expect(client.get({})).rejects.toMatchObject({ code: Code.Unavailable });
  });

  test("runs interceptors around it", async () => {
    await nats.worker({
      get: (_request, context) => ({ text: context.requestHeader.get("x-from") ?? "" }),
    });
    const client = await nats.client({
      interceptors: [
        (next) => async (request) => {
          request.header.set("x-from", "interceptor");
          return next(request);
        },
      ],
    });
    expect((await client.get({})).text).toBe("interceptor");
  });
});

describe("a worker", () => {
  test("shares direct calls with others, and finishes what runs when drained", async () => {
    const started = gate();
    const finish = gate();
    const first = await nats.worker(
      {
        get: async () => {
          started.open();
          await finish.opened;
          return { text: "first" };
        },
      },
      patientDrain,
    );
    const client = await nats.client();
    const running = client.get({});
    await started.opened;
    const drained = first.drain();
    await nats.worker({ get: () => ({ text: "second" }) });
    // The first one takes nothing new.
    for (let i = 0; i < 20; i++) {
      expect((await client.get({})).text).toBe("second");
    }
    finish.open();
    expect((await running).text).toBe("first");
    await drained;
  });

  test("stops what outlives the drain timeout, and answers its callers", async () => {
    const started = gate();
    const aborted = gate();
    const worker = await nats.worker(
      {
        get: (_request, context) => {
          context.signal.addEventListener("abort", aborted.open);
          started.open();
          return new Promise(() => undefined);
        },
      },
      { drainTimeoutMs: 10 },
    );
    const client = await nats.client();
    const call = client.get({});
    call.catch(() => undefined);
    await started.opened;
    await worker.drain();
    await aborted.opened;
    await expect(call).rejects.toMatchObject({ code: Code.Unavailable });
  });

  test("refuses to serve nothing", async () => {
    await expect(nats.worker({})).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("get, slow"),
    });
  });
});
