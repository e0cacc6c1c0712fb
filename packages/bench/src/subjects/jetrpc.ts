import {
  createClient,
  type DurableServerStreamingMethod,
  type DurableUnaryMethod,
  type ServerStreamingMethod,
  type UnaryMethod,
} from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import {
  BenchService,
  type CountRequestSchema,
  type CountResponseSchema,
  type EchoRequestSchema,
  type EchoResponseSchema,
  type OrderSchema,
  ReplicatedService,
} from "../gen/bench/v1/bench_pb.js";
import { type Served, streamMessages, type Way } from "../subject.js";
import { count, drain } from "./count.js";

/** The code that the generator would write. */
interface BenchClient {
  echo: UnaryMethod<typeof EchoRequestSchema, typeof EchoResponseSchema>;
  echoDurably: DurableUnaryMethod<typeof EchoRequestSchema, typeof EchoResponseSchema>;
  echoOrder: UnaryMethod<typeof OrderSchema, typeof OrderSchema>;
  echoOrderDurably: DurableUnaryMethod<typeof OrderSchema, typeof OrderSchema>;
  count: ServerStreamingMethod<typeof CountRequestSchema, typeof CountResponseSchema>;
  infer: DurableUnaryMethod<typeof EchoRequestSchema, typeof EchoResponseSchema>;
  countDurably: DurableServerStreamingMethod<typeof CountRequestSchema, typeof CountResponseSchema>;
}

/** Serves everything that the benchmarks call. */
export async function start(servers: string[]): Promise<Served> {
  const connection = await connect({ nats: { servers } });
  await serve(
    BenchService,
    {
      echo: ({ payload }) => ({ payload }),
      echoDurably: ({ payload }) => ({ payload }),
      echoOrder: (order) => order,
      echoOrderDurably: (order) => order,
      count: ({ messages }) => count(messages),
      countDurably: ({ messages }) => count(messages),
    },
    { connection },
  );
  return { address: "" };
}

/** A client of it. */
export async function client(servers: string[]): Promise<BenchClient> {
  return createClient<BenchClient>(BenchService, await connect({ nats: { servers } }));
}

export const jetrpcUnary: Way = {
  serve: start,
  async connect(servers) {
    const { echo, echoOrder } = await client(servers);
    return {
      async bytes(payload) {
        await echo({ payload });
      },
      async order(order) {
        await echoOrder(order);
      },
    };
  },
};

/** The answer is stored, and the call survives the crash of everybody. */
export const jetrpcDurable: Way = {
  serve: start,
  async connect(servers) {
    const { echoDurably, echoOrderDurably } = await client(servers);
    return {
      async bytes(payload) {
        await echoDurably({ payload });
      },
      async order(order) {
        await echoOrderDurably(order);
      },
    };
  },
};

/** The same, and each message is stored by three servers. */
export const jetrpcReplicated: Way = {
  async serve(servers) {
    const connection = await connect({ nats: { servers } });
    await serve(ReplicatedService, { echoDurably: ({ payload }) => ({ payload }) }, { connection });
    return { address: "" };
  },
  async connect(servers) {
    const connection = await connect({ nats: { servers } });
    const { echoDurably } = createClient<Pick<BenchClient, "echoDurably">>(
      ReplicatedService,
      connection,
    );
    return {
      async bytes(payload) {
        await echoDurably({ payload });
      },
    };
  },
};

export const jetrpcStream: Way = {
  serve: start,
  async connect(servers) {
    const bench = await client(servers);
    return { bytes: () => drain(bench.count({ messages: streamMessages })) };
  },
};
