import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Client,
  credentials,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { BenchService } from "../gen/bench/v1/bench_pb.js";
import { type Served, streamMessages, type Way } from "../subject.js";
import { count, drain } from "./count.js";

const options = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
};

/** Serializes by protobuf-es, as all subjects do. */
function definition(method: DescMethod): MethodDefinition<unknown, unknown> {
  const serialize = (schema: DescMessage) => (value: unknown) =>
    Buffer.from(toBinary(schema, create(schema, value as MessageInitShape<DescMessage>)));
  const deserialize = (schema: DescMessage) => (bytes: Uint8Array) => fromBinary(schema, bytes);
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: serialize(method.input),
    requestDeserialize: deserialize(method.input),
    responseSerialize: serialize(method.output),
    responseDeserialize: deserialize(method.output),
  };
}

const echo = definition(BenchService.method.echo);
const echoOrder = definition(BenchService.method.echoOrder);
const counting = definition(BenchService.method.count);

async function serve(): Promise<Served> {
  const server = new Server(options);
  server.addService(
    { echo, echoOrder, count: counting },
    {
      echo: (
        call: ServerUnaryCall<{ payload: Uint8Array }, unknown>,
        reply: sendUnaryData<unknown>,
      ) => reply(null, { payload: call.request.payload }),
      echoOrder: (call: ServerUnaryCall<unknown, unknown>, reply: sendUnaryData<unknown>) =>
        reply(null, call.request),
      count: async (call: ServerWritableStream<{ messages: number }, unknown>) => {
        for await (const message of count(call.request.messages)) {
          if (!call.write(message)) {
            await new Promise((resolve) => call.once("drain", resolve));
          }
        }
        call.end();
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { address: `127.0.0.1:${port}`, serverPids: [] };
}

const client = (address: string) => new Client(address, credentials.createInsecure(), options);

export const grpcUnary: Way = {
  serve,
  async connect(_nats, address) {
    const grpc = client(address);
    const call =
      ({ path, requestSerialize, responseDeserialize }: typeof echo) =>
      (message: unknown) =>
        new Promise<void>((resolve, reject) => {
          grpc.makeUnaryRequest(path, requestSerialize, responseDeserialize, message, (error) =>
            error ? reject(error) : resolve(),
          );
        });
    const bytes = call(echo);
    return { bytes: (payload) => bytes({ payload }), order: call(echoOrder) };
  },
};

export const grpcStream: Way = {
  serve,
  async connect(_nats, address) {
    const grpc = client(address);
    const { path, requestSerialize, responseDeserialize } = counting;
    return {
      bytes: () =>
        drain(
          grpc.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {
            messages: streamMessages,
          }),
        ),
    };
  },
};
