import type { Subject } from "../subject.js";

const nats = () => import("./nats.js");
const jetrpc = () => import("./jetrpc.js");
const grpc = () => import("./grpc-js.js");
const connectNode = () => import("./connect-node.js");
const handWritten = async (replicas: number) =>
  (await import("./jetstream.js")).handWritten(replicas);

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
    load: async () => (await connectNode()).connectHttp1Unary,
  },
  {
    kind: "unary",
    name: "connect-node grpc",
    load: async () => (await connectNode()).connectGrpcUnary,
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
    load: async () => (await connectNode()).connectGrpcStream,
  },
];
