import type { Subject } from "../subject.js";
import type { Kept } from "./traced.js";

const nats = () => import("./nats.js");
const jetrpc = () => import("./jetrpc.js");
const grpc = () => import("./grpc-js.js");
const connectNode = () => import("./connect-node.js");
const traced = async (kept?: Kept) => (await import("./traced.js")).traced(kept);
const handWritten = async (replicas: number) =>
  (await import("./jetstream.js")).handWritten(replicas);

type HttpName = "http1" | "connectHttp2" | "grpc";

/** Calls over HTTP: of a server that does the work itself, or of a gateway. */
async function http(name: HttpName, isGateway: boolean) {
  const its = (await connectNode())[name];
  return isGateway ? (await import("./gateway.js")).throughGateway(its) : its;
}
const httpUnary = async (name: HttpName, isGateway = false) =>
  (await connectNode()).unary(await http(name, isGateway));
const httpStream = async (name: HttpName, isGateway = false) =>
  (await connectNode()).stream(await http(name, isGateway));

const ofGateway = ([title, name]: readonly [string, HttpName]): Subject[] =>
  (["gateway", "connect-node"] as const).flatMap((who) => [
    {
      kind: "gateway",
      name: `${who} ${title}`,
      load: () => httpUnary(name, who === "gateway"),
    },
    {
      kind: "gateway-stream",
      name: `${who} ${title}`,
      load: () => httpStream(name, who === "gateway"),
    },
  ]);

/** Everything that is called, in the order of the tables. */
export const subjects: readonly Subject[] = [
  { kind: "unary", name: "bare mux", load: async () => (await nats()).bareMux },
  { kind: "unary", name: "nc.request default", load: async () => (await nats()).natsRequest({}) },
  {
    kind: "unary",
    name: "nc.request noAsyncTraces",
    load: async () => (await nats()).natsRequest({ noAsyncTraces: true }),
  },
  { kind: "unary", name: "jetrpc direct", load: async () => (await jetrpc()).jetrpcUnary },
  { kind: "unary", name: "grpc-js", load: async () => (await grpc()).grpcUnary },
  {
    kind: "unary",
    name: "connect-node http/1.1",
    load: async () => httpUnary("http1"),
  },
  {
    kind: "unary",
    name: "connect-node grpc",
    load: async () => httpUnary("grpc"),
  },
  { kind: "durable", name: "jetrpc durable", load: async () => (await jetrpc()).jetrpcDurable },
  { kind: "durable", name: "hand-written JetStream", load: () => handWritten(1) },
  { kind: "durable", name: "bullmq", load: async () => (await import("./bullmq.js")).bullmq },
  { kind: "replicas", name: "jetrpc durable", load: async () => (await jetrpc()).jetrpcDurable },
  {
    kind: "replicas",
    name: "jetrpc durable always",
    servers: "one-always",
    load: async () => (await jetrpc()).jetrpcDurable,
  },
  {
    kind: "replicas",
    name: "jetrpc durable 3 x always",
    servers: "three-always",
    load: async () => (await jetrpc()).jetrpcReplicated,
  },
  { kind: "replicas", name: "hand-written JetStream", load: () => handWritten(1) },
  {
    kind: "replicas",
    name: "hand-written JetStream 3 x always",
    servers: "three-always",
    load: () => handWritten(3),
  },
  { kind: "stream", name: "jetrpc direct", load: async () => (await jetrpc()).jetrpcStream },
  { kind: "stream", name: "grpc-js", load: async () => (await grpc()).grpcStream },
  {
    kind: "stream",
    name: "connect-node grpc",
    load: async () => httpStream("grpc"),
  },
  { kind: "traced", name: "jetrpc direct", load: () => traced() },
  { kind: "traced", name: "newTraces 1 %", load: () => traced({ sampler: 1, newTraces: 0.01 }) },
  { kind: "traced", name: "sampler 1 %", load: () => traced({ sampler: 0.01 }) },
  { kind: "traced", name: "all traces", load: () => traced({ sampler: 1 }) },
  ...(
    [
      ["http/1.1", "http1"],
      ["http/2", "connectHttp2"],
      ["grpc", "grpc"],
    ] as const
  ).flatMap(ofGateway),
  {
    kind: "gateway",
    name: "bare hop http/1.1",
    load: async () => {
      const { http1, unary } = await connectNode();
      return unary((await import("./gateway.js")).byHop(http1));
    },
  },
];
