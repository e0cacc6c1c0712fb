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
} from "../gen/bench/v1/bench_pb.js";
import { streamMessages, type Way } from "../subject.js";
import { count, drain } from "./count.js";

/** The code that the generator would write. */
interface BenchClient {
  echo: UnaryMethod<typeof EchoRequestSchema, typeof EchoResponseSchema>;
  echoDurably: DurableUnaryMethod<typeof EchoRequestSchema, typeof EchoResponseSchema>;
  count: ServerStreamingMethod<typeof CountRequestSchema, typeof CountResponseSchema>;
  countDurably: DurableServerStreamingMethod<typeof CountRequestSchema, typeof CountResponseSchema>;
}

/** Serves everything that the benchmarks call. */
export async function start(servers: string): Promise<string> {
  const connection = await connect({ nats: { servers } });
  await serve(
    BenchService,
    {
      echo: ({ payload }) => ({ payload }),
      echoDurably: ({ payload }) => ({ payload }),
      count: ({ messages }) => count(messages),
      countDurably: ({ messages }) => count(messages),
    },
    { connection },
  );
  return "";
}

/** A client of it. */
export async function client(servers: string): Promise<BenchClient> {
  return createClient<BenchClient>(BenchService, await connect({ nats: { servers } }));
}

export const jetrpcUnary: Way = {
  serve: start,
  async connect(servers) {
    const { echo } = await client(servers);
    return async (payload) => {
      await echo({ payload });
    };
  },
};

/** The answer is stored, and the call survives the crash of everybody. */
export const jetrpcDurable: Way = {
  serve: start,
  async connect(servers) {
    const { echoDurably } = await client(servers);
    return async (payload) => {
      await echoDurably({ payload });
    };
  },
};

export const jetrpcStream: Way = {
  serve: start,
  async connect(servers) {
    const bench = await client(servers);
    return () => drain(bench.count({ messages: streamMessages }));
  },
};
