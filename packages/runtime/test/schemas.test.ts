/** A client and a worker whose schemas differ in what kind of method one is. */
import { createFileRegistry, type DescService } from "@bufbuild/protobuf";
import { makeAnyClient } from "@connectrpc/connect";
import {
  Code,
  ConnectError,
  type Connection,
  startWorker,
  type WaitingCall,
} from "@jetrpc/runtime";
import { beforeEach, describe, expect, test } from "vitest";
import { fileSetOf } from "./file-set.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, useNats } from "./support.js";

/** The methods of the schema that are of one kind each. */
const shapes = {
  "a direct unary method": "Get",
  "a direct server-streaming method": "Down",
  "a direct client-streaming method": "Up",
  "a direct bidi-streaming method": "Chat",
  "a durable unary method": "Do",
  "a durable server-streaming method": "Count",
} as const;
type Shape = keyof typeof shapes;
const names = Object.keys(shapes) as Shape[];

/** The service with one method, `M`, of a kind. */
function schemaOf(shape: Shape): DescService {
  const set = fileSetOf(TestService.file);
  const service = set.file.at(-1)?.service[0];
  const method = service?.method.find(({ name }) => name === shapes[shape]);
  if (!service || !method) {
    throw new Error(`no method ${shapes[shape]}`);
  }
  service.method = [{ ...method, name: "M" }];
  return createFileRegistry(set).getService(TestService.typeName) as DescService;
}

let runs = 0;
beforeEach(() => {
  runs = 0;
});

function handlerOf(shape: Shape): unknown {
  const run = () => {
    runs++;
    return { text: "done" };
  };
  switch (schemaOf(shape).methods[0]?.methodKind) {
    case "unary":
      return run;
    case "client_streaming":
      return async (requests: AsyncIterable<unknown>) => {
        await collect(requests);
        return run();
      };
    default:
      return async function* () {
        yield run();
      };
  }
}

/** Calls the method as a Connect client of its kind does, and gives the texts of its responses. */
async function call(shape: Shape, { transport }: Connection): Promise<string[]> {
  const client = makeAnyClient(schemaOf(shape), (method) => async () => {
    const text = (message: object) => (message as { text: string }).text;
    if (method.methodKind === "unary") {
      const { message } = await transport.unary(method, undefined, undefined, undefined, {});
      return [text(message)];
    }
    const requests = (async function* () {
      yield {};
    })();
    const { message } = await transport.stream(method, undefined, undefined, undefined, requests);
    return (await collect(message)).map(text);
  });
  return client["m"]?.() as Promise<string[]>;
}

const nats = useNats();

/** A worker of one schema, and a call by a client of another one. */
async function meet(worker: Shape, client: Shape, onWaiting?: (waiting: WaitingCall) => void) {
  const impl = { m: handlerOf(worker) };
  await startWorker(schemaOf(worker), impl as object, await nats.connect());
  return call(client, await nats.connect({ ...(onWaiting && { onWaiting }) }));
}

const pairs = names.flatMap((worker) => names.map((client) => [worker, client] as const));
const isDurable = (shape: Shape) => shape.includes("durable");

describe("a worker and a client", () => {
  test.each(names)("that both have %s understand each other", async (shape) => {
    expect(await meet(shape, shape)).toEqual(["done"]);
  });

  test.each(
    pairs.filter(
      ([worker, client]) => worker !== client && (isDurable(worker) || !isDurable(client)),
    ),
  )(
    "of which one has %s and the other %s are told that their schemas differ",
    async (worker, client) => {
      const error = await meet(worker, client).then(
        (texts) => new Error(`it succeeded with ${JSON.stringify(texts)}`),
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(ConnectError);
      expect(error).toMatchObject({
        code: Code.Unimplemented,
        rawMessage: expect.stringMatching(
          /^rpc test\.v1\.TestService\.M is .* in the schema of one side, and .* generate client and worker from the same \.proto/,
        ),
      });
    },
  );

  test.each(names.filter((shape) => !isDurable(shape) && shape !== "a direct unary method"))(
    "of which one has a unary method, and the other %s, run nothing",
    async (client) => {
      await expect(meet("a direct unary method", client)).rejects.toThrow();
      expect(runs).toBe(0);
    },
  );

  test.each(pairs.filter(([worker, client]) => !isDurable(worker) && isDurable(client)))(
    "of which one has %s and the other %s: who waits hears why",
    async (worker, client) => {
      const message = await new Promise<string>((resolve) => {
        meet(worker, client, (waiting) => resolve(waiting.message)).catch(() => undefined);
      });
      expect(message).toContain("is durable in the schema of one side, and direct in that of the");
    },
  );
});
