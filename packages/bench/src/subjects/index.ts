import type { Subject, SuiteName, Way } from "../subject.js";

const subject = (suite: SuiteName, name: string, load: () => Promise<Way>): Subject => ({
  suite,
  name,
  load,
});

/** Everything that is measured, in the order of the tables. */
export const subjects: readonly Subject[] = [
  subject("unary", "bare mux", async () => (await import("./nats.js")).bareMux),
  subject("unary", "nc.request default", async () => (await import("./nats.js")).natsRequest({})),
  subject("unary", "nc.request noAsyncTraces", async () =>
    (await import("./nats.js")).natsRequest({ noAsyncTraces: true }),
  ),
  subject("unary", "jetrpc direct", async () => (await import("./jetrpc.js")).jetrpcUnary),
  subject("unary", "grpc-js", async () => (await import("./grpc-js.js")).grpcUnary),
  subject(
    "unary",
    "connect-node http/1.1",
    async () => (await import("./connect-node.js")).connectHttp1Unary,
  ),
  subject(
    "unary",
    "connect-node grpc",
    async () => (await import("./connect-node.js")).connectGrpcUnary,
  ),
  subject("durable", "jetrpc durable", async () => (await import("./jetrpc.js")).jetrpcDurable),
  subject(
    "durable",
    "hand-written JetStream",
    async () => (await import("./jetstream.js")).handWritten,
  ),
  subject("durable", "bullmq", async () => (await import("./bullmq.js")).bullmq),
  subject("stream", "jetrpc direct", async () => (await import("./jetrpc.js")).jetrpcStream),
  subject("stream", "grpc-js", async () => (await import("./grpc-js.js")).grpcStream),
  subject(
    "stream",
    "connect-node grpc",
    async () => (await import("./connect-node.js")).connectGrpcStream,
  ),
];
