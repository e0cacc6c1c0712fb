import { create } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import type { NatsServer } from "@jetrpc/testing";
import { expect, test } from "vitest";
import {
  RequestSchema,
  ResponseSchema,
  TestService,
} from "../../runtime/test/gen/test/v1/test_pb.js";
import { useProcesses } from "../../runtime/test/process.js";
import { failureOf, gate, until, useNats } from "../../runtime/test/support.js";
import { CallService } from "../src/index.js";
import { postJson } from "./support.js";

const nats = useNats();
const start = useProcesses();

const count = 1_000;
const method = "test.v1.TestService/Count";

/** A server, and a gateway in a process of its own, both to be killed. */
async function killable() {
  const server = await nats.start();
  const run = async (port: string) => {
    const started = start(
      "../../gateway/test/gateway-process.mjs",
      nats.environment("root", server.url),
      port,
    );
    const url = (await started.hears((line) => line.startsWith("http"))) ?? "";
    return { started, url };
  };
  let { started, url } = await run("0");
  return {
    server,
    url,
    kill: () => started.end("SIGKILL"),
    async restart() {
      await started.end("SIGKILL");
      ({ started, url } = await run(new URL(url).port));
    },
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

/** A worker that stops in the middle of its messages until it is let go on. */
async function serve(server: NatsServer) {
  const middle = gate();
  const messages = async function* (from = 0) {
    for (let index = from; index < count; index++) {
      if (index === count / 2) {
        await middle.opened;
      }
      yield { index };
    }
  };
  await nats.worker({ count: () => messages(), down: () => messages() }, { url: server.url });
  return middle;
}

const transports: [string, (baseUrl: string) => Transport][] = [
  ["Connect", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" })],
  ["connect-web", (baseUrl) => web.createConnectTransport({ baseUrl, useBinaryFormat: true })],
  ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl })],
];

const losses = ["the gateway", "NATS", "the client's connection"] as const;

test.each(transports.flatMap(([name, make]) => losses.map((loss) => [name, loss, make] as const)))(
  "%s: when %s is lost in the middle of a durable stream, each message comes once and in order",
  async (_name, loss, make) => {
    await using at = await killable();
    const middle = await serve(at.server);
    const request = anyPack(RequestSchema, create(RequestSchema, {}));
    const { callId } = await createClient(CallService, make(at.url)).submit({ method, request });
    const heard: number[] = [];
    let hasLost = false;
    const lose = async (leave: () => void) => {
      hasLost = true;
      if (loss === "the gateway") {
        await at.restart();
      } else if (loss === "NATS") {
        await at.server.kill();
        await at.server.restart();
      } else {
        leave();
      }
      middle.open();
    };
    let losing: Promise<void> | undefined;
    while (heard.length < count) {
      const leaving = new AbortController();
      const calls = createClient(CallService, make(at.url));
      try {
        const call = { method, callId, from: heard.length };
        for await (const { index, message } of calls.messages(call, { signal: leaving.signal })) {
          expect(index).toBe(heard.length);
          heard.push((message && anyUnpack(message, ResponseSchema)?.index) ?? -1);
          if (heard.length >= count / 3 && !hasLost) {
            losing = lose(() => leaving.abort());
          }
        }
        // An end without an error is that of the call.
        expect(heard.length).toBe(count);
      } catch (error) {
        expect((error as Error).name).toBe("ConnectError");
        await losing;
      }
    }
    await losing;
    expect(heard).toEqual(Array.from({ length: count }, (_, index) => index));
  },
);

test.each(
  transports.flatMap(([name, make]) =>
    (["NATS", "the gateway"] as const).map((loss) => [name, loss, make] as const),
  ),
)(
  "%s: a direct stream fails when %s is lost, and does not end as if it were whole",
  async (_name, loss, make) => {
    await using at = await killable();
    const middle = await serve(at.server);
    const client = createClient(TestService, make(at.url));
    let heard = 0;
    const error = await failureOf(
      (async () => {
        for await (const { index } of client.down({})) {
          expect(index).toBe(heard);
          heard += 1;
          if (heard === Math.floor(count / 3)) {
            await (loss === "NATS" ? at.server.kill() : at.kill());
          }
        }
      })(),
    );
    middle.open();
    expect(heard).toBeLessThan(count);
    if (loss === "NATS") {
      expect(error.code).toBe(Code.Unavailable);
      await at.server.restart();
    }
  },
);

test("a call with a key gets the first one's result from another gateway after a kill", async () => {
  await using at = await killable();
  let runs = 0;
  const { opened, open } = gate();
  await nats.worker(
    {
      do: async ({ text }) => {
        runs += 1;
        await opened;
        return { text: `${text} ${runs}` };
      },
    },
    { url: at.server.url },
  );
  const call = () =>
    postJson(`${at.url}/test.v1.TestService/Do`, { text: "run" }, { "Idempotency-Key": "one" });
  const first = call();
  first.catch(() => undefined);
  await until(() => runs === 1);
  await at.restart();
  await expect(first).rejects.toThrow();
  const second = call();
  open();
  expect(await (await second).json()).toEqual({ text: "run 1" });
  expect(runs).toBe(1);
});
