import { create, toBinary } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@jetrpc/runtime";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chance } from "../../../test/chance.js";
import { runs } from "../../../test/property-runs.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { collect, type TestClient, until, useNats } from "./support.js";

const nats = useNats();
const { connect } = await import("@jetrpc/runtime/node");
const { startWorker } = await import("@jetrpc/runtime");

/** What the worker is to do with the next call. */
let script: {
  sizes: number[];
  header: [string, string][];
  trailer: [string, string][];
  error?: { code: Code; message: string; seconds: bigint } | undefined;
};
let client: TestClient;
let stop: () => Promise<void>;

beforeAll(async () => {
  const options = { nats: { servers: nats.server.url } };
  const workers = await connect(options);
  await startWorker(
    TestService,
    {
      async *chat(requests, context) {
        for (const [name, value] of script.header) {
          context.responseHeader.append(name, value);
        }
        for await (const { data } of requests) {
          yield { data };
        }
        for (const size of script.sizes) {
          yield { data: new Uint8Array(size).fill(size) };
        }
        for (const [name, value] of script.trailer) {
          context.responseTrailer.append(name, value);
        }
        if (script.error) {
          const { code, message, seconds } = script.error;
          const detail = { desc: DurationSchema, value: { seconds } };
          throw new ConnectError(message, code, undefined, [detail]);
        }
      },
    },
    workers,
  );
  const clients = await connect(options);
  client = createClient<TestClient>(TestService, clients);
  stop = async () => {
    await clients.close();
    await workers.close();
  };
});
afterAll(() => stop());

const sizes = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 300 }),
    fc.integer({ min: 65_500, max: 65_560 }),
    fc.integer({ min: 0, max: 200_000 }),
  ),
  { maxLength: 20 },
);
const metadata = fc.array(
  fc.tuple(
    fc.stringMatching(/^x-[a-z0-9][a-z0-9-]{0,20}$/),
    // What Headers keep as it is: no white space at either end.
    fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/),
  ),
  { maxLength: 8 },
);
const codes = Object.values(Code).filter((code): code is Code => typeof code === "number");
const error = fc.record({
  code: fc.constantFrom(...codes),
  message: fc.string({ unit: "grapheme", maxLength: 200 }),
  seconds: fc.bigInt({ min: -1000n, max: 1000n }),
});

function sorted(metadata: Iterable<[string, string]> = []): [string, string[]][] {
  return [...metadata].map(([name, values]) => [name, values.split(", ").sort()]);
}

describe("a stream arrives as it was sent", () => {
  test("whatever its messages, metadata and end", async () => {
    await fc.assert(
      fc.asyncProperty(
        sizes,
        sizes,
        metadata,
        metadata,
        fc.option(error, { nil: undefined }),
        async (up, down, header, trailer, failure) => {
          script = { sizes: down, header, trailer, error: failure };
          const requests = async function* () {
            for (const size of up) {
              yield { data: new Uint8Array(size).fill(size) };
            }
          };
          let gotHeader: Headers | undefined;
          let gotTrailer: Headers | undefined;
          let gotError: ConnectError | undefined;
          const got: Uint8Array[] = [];
          try {
            for await (const { data } of client.chat(requests(), {
              onHeader: (headers) => {
                gotHeader = headers;
              },
              onTrailer: (headers) => {
                gotTrailer = headers;
              },
            })) {
              got.push(data);
            }
          } catch (thrown) {
            gotError = thrown as ConnectError;
            gotTrailer = gotError.metadata;
          }
          const expected = [...up, ...down];
          expect(got.map((data) => data.length)).toEqual(expected);
          for (const [i, size] of expected.entries()) {
            expect(Buffer.compare(got[i] as Uint8Array, new Uint8Array(size).fill(size))).toBe(0);
          }
          expect([...(gotHeader ?? [])]).toEqual([...new Headers(header)]);
          // An error has all metadata of its response; what both have is in no order.
          const last = failure ? [...header, ...trailer] : trailer;
          expect(sorted(gotTrailer)).toEqual(sorted(new Headers(last)));
          expect(gotError?.code).toBe(failure?.code);
          expect(gotError?.rawMessage).toBe(failure?.message);
          if (failure) {
            expect(gotError?.findDetails(DurationSchema)).toEqual([
              create(DurationSchema, { seconds: failure.seconds }),
            ]);
          }
        },
      ),
      runs(150),
    );
  });
});

describe("random frames", () => {
  const frames = 100_000;

  /** Bytes that are nearly right, or not at all. */
  function randomPayload(random: (below: number) => number): Uint8Array {
    const kind = random(100);
    if (kind < 30) {
      return new Uint8Array(random(40)).map(() => random(256));
    }
    const message = toBinary(
      TestService.method.chat.input,
      create(TestService.method.chat.input, { count: 1 }),
    );
    const frame = new Uint8Array(5 + message.length);
    frame[3] = kind < 60 ? 0 : random(3);
    frame[4] = kind < 80 ? message.length : random(256);
    frame.set(message, 5);
    return frame;
  }

  const kinds = [
    "accept",
    "header",
    "credit",
    "credit 1e999",
    "credit 100000",
    "credit -5",
    "credit x",
    "end",
    "end 0",
    "end 1",
    "end -1",
    "end 99999999999999999999",
    "what",
    "",
    "end 1 2",
  ];

  test("end calls, and neither worker nor client", async () => {
    const { headers } = await import("@nats-io/transport-node");
    const random = chance();
    const randomOptions = (reply: string) => {
      const choice = random(100);
      if (choice < 60) {
        return { reply };
      }
      const block = headers();
      block.set("Jetrpc-Frame", kinds[random(kinds.length)] as string);
      if (choice < 70) {
        block.set("Nats-Service-Error-Code", `${random(40) - 10}`);
      }
      if (choice < 65) {
        block.set("Jetrpc-Payload", "nothing");
      }
      if (choice < 62) {
        block.set("Jetrpc-Timeout-Ms", "-1");
      }
      return { reply, headers: block };
    };
    const attacker = (await nats.connect()).nats;
    const prefix = "test.v1.TestService";
    // Who attacks knows every subject.
    const streams: string[] = [];
    attacker.subscribe(`${prefix}.stream.>`, {
      callback: (_error, message) => void streams.push(message.subject),
    });
    const inboxes = new Set<string>();
    attacker.subscribe(`${prefix}.rpc.*`, {
      callback: (_error, message) => void (message.reply && inboxes.add(message.reply)),
    });
    script = { sizes: [1, 2, 3], header: [], trailer: [] };
    const forever = async function* () {
      yield {};
      await new Promise((resolve) => setTimeout(resolve, 50));
    };
    let ended = 0;
    let isOver = false;
    // Calls that the attack is to hit.
    const victims = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        await collect(client.chat(forever())).catch((e) => expect(e).toBeInstanceOf(ConnectError));
        ended++;
      }
    });
    const rss: number[] = [];
    for (let i = 0; i < frames; i++) {
      const targets = [
        ...streams.slice(-4),
        ...[...inboxes].slice(-4),
        `${prefix}.rpc.Chat`,
        `${prefix}.cancel.Chat`,
      ];
      const target = targets[random(targets.length)] as string;
      attacker.publish(target, randomPayload(random), randomOptions(`_INBOX.attack.${i % 100}`));
      if (i % 1000 === 0) {
        await attacker.flush();
        await new Promise((resolve) => setTimeout(resolve, 1));
        streams.splice(0, streams.length - 100);
        if (inboxes.size > 100) {
          inboxes.clear();
        }
        rss.push(process.memoryUsage().rss);
      }
    }
    await until(() => ended > victims.length);
    isOver = true;
    await Promise.all(victims);
    // What the attack opened ends by itself; a new call is as good as any before.
    expect((await collect(client.chat(forever()))).length).toBe(4);
    const half = rss[Math.floor(rss.length / 2)] as number;
    expect((rss.at(-1) as number) - half).toBeLessThan(64 * 1024 * 1024);
  });
});
