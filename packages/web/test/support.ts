import type { DescService } from "@bufbuild/protobuf";
import { type Gateway, type GatewayOptions, startGateway } from "@jetrpc/gateway";
import {
  type ClientConnection,
  type Connection,
  type ConnectionOptions,
  createClient,
  createConnection,
  type Interceptor,
  startWorker,
  type WorkerImpl,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { wsconnect } from "@nats-io/nats-core";
import { afterAll, afterEach, beforeAll } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import type { TestClient, TestImpl } from "../../runtime/test/support.js";
import { connectGateway, type GatewayConnectionOptions } from "../src/index.js";

/** The ways that lead a client to its workers. */
export const ways = ["NATS", "the gateway", "WebSocket"] as const;
export type Way = (typeof ways)[number];

/** Options of a connection, whatever its way. */
export interface WayOptions {
  readonly interceptors?: Interceptor[];
  readonly defaultTimeoutMs?: number;
  readonly owner?: string;
}

/** A nats-server for the tests of a file, and gateways, workers and clients that end with their test. */
export function useWeb() {
  let server: NatsServer;
  const open: (() => Promise<unknown>)[] = [];
  const connectTo = (options: ConnectionOptions = {}): Promise<Connection> =>
    connect({ ...options, nats: { servers: server.url } });
  beforeAll(async () => {
    server = await startNats({ websocket: true });
  });
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) {
      await close();
    }
  });
  afterAll(() => server?.stop());
  const self = {
    get server(): NatsServer {
      return server;
    },
    async gateway(options: GatewayOptions = {}): Promise<Gateway> {
      const gateway = await startGateway({
        port: 0,
        connect: (owner) => connectTo({ owner }),
        // The token is the name of the owner.
        authenticate: ({ headers }) => {
          const token = /^Bearer (\w+)$/.exec(headers.get("authorization") ?? "")?.[1];
          return token === undefined ? undefined : { owner: token };
        },
        drainTimeoutMs: 100,
        ...options,
      });
      open.push(() => gateway.drain());
      return gateway;
    },
    worker: (impl: TestImpl) => self.serve(TestService, impl),
    async serve<S extends DescService>(service: S, impl: Partial<WorkerImpl<S>>) {
      const connection = await connectTo();
      const worker = await startWorker(service, impl, connection, { drainTimeoutMs: 1_000 });
      open.push(async () => {
        await worker.drain();
        await connection.close();
      });
      return worker;
    },
    /** A client of a gateway. */
    clientOf(url: string, options: GatewayConnectionOptions = {}): TestClient {
      return createClient<TestClient>(TestService, self.connectionOf(url, options));
    },
    connectionOf(url: string, options: GatewayConnectionOptions = {}): ClientConnection {
      const connection = connectGateway(url, { token: "ada", ...options });
      open.push(() => connection.close());
      return connection;
    },
    /** A client, by a way. */
    async client(way: Way, options: WayOptions = {}): Promise<TestClient> {
      return createClient<TestClient>(TestService, await self.connection(way, options));
    },
    async connection(way: Way, { owner = "ada", ...options }: WayOptions = {}) {
      if (way === "the gateway") {
        const { url } = await self.gateway();
        return self.connectionOf(url, { token: owner, ...options });
      }
      const connection =
        way === "NATS"
          ? await connectTo({ owner, ...options })
          : createConnection(await wsconnect({ servers: server.websocketUrl ?? "" }), {
              owner,
              ...options,
            });
      open.push(() => connection.close());
      return connection;
    },
  };
  return self;
}
