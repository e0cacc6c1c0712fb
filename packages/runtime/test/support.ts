import {
  type BidiStreamingMethod,
  type ClientStreamingMethod,
  type Connection,
  type ConnectionOptions,
  createClient,
  type DurableServerStreamingMethod,
  type DurableUnaryMethod,
  type LogRecord,
  type ServerStreamingMethod,
  startWorker,
  type UnaryMethod,
  type Worker,
  type WorkerImpl,
  type WorkerOptions,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, afterEach, beforeAll } from "vitest";
import { type RequestSchema, type ResponseSchema, TestService } from "./gen/test/v1/test_pb.js";

type I = typeof RequestSchema;
type O = typeof ResponseSchema;

export interface TestClient {
  get: UnaryMethod<I, O>;
  slow: UnaryMethod<I, O>;
  two: UnaryMethod<I, O>;
  down: ServerStreamingMethod<I, O>;
  up: ClientStreamingMethod<I, O>;
  chat: BidiStreamingMethod<I, O>;
  do: DurableUnaryMethod<I, O>;
  global: DurableUnaryMethod<I, O>;
  urgent: DurableUnaryMethod<I, O>;
  picky: DurableUnaryMethod<I, O>;
  limited: DurableUnaryMethod<I, O>;
  count: DurableServerStreamingMethod<I, O>;
  resume: DurableServerStreamingMethod<I, O>;
}

export type TestImpl = Partial<WorkerImpl<typeof TestService>>;

/** A server for all tests of a file, and what each test opens on it. */
export function useNats() {
  let server: NatsServer;
  const open: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    server = await startNats();
  });
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) {
      await close();
    }
    const admin = await connect({ nats: { servers: server.url } });
    await removeStreams(admin);
    await admin.close();
  });
  afterAll(() => server?.stop());

  const self = {
    get server(): NatsServer {
      return server;
    },
    async connect(options: ConnectionOptions & { url?: string } = {}): Promise<Connection> {
      const { url = server.url, ...rest } = options;
      const connection = await connect({ ...rest, nats: { servers: url } });
      open.push(() => connection.close());
      return connection;
    },
    async client(options?: ConnectionOptions & { url?: string }): Promise<TestClient> {
      return createClient<TestClient>(TestService, await self.connect(options));
    },
    async worker(
      impl: TestImpl,
      options: WorkerOptions & { url?: string } = {},
    ): Promise<Worker & { logged: LogRecord[]; connection: Connection }> {
      const connection = await self.connect(options.url ? { url: options.url } : {});
      const logged: LogRecord[] = [];
      const worker = await startWorker(TestService, impl, connection, {
        drainTimeoutMs: 1_000,
        logger: (record) => logged.push(record),
        ...options,
      });
      open.push(() => worker.drain());
      return Object.assign(worker, { logged, connection });
    },
  };
  return self;
}

async function removeStreams(connection: Connection): Promise<void> {
  const reply = await connection.nats.request("$JS.API.STREAM.NAMES");
  for (const name of (reply.json() as { streams: string[] | null }).streams ?? []) {
    await connection.nats.request(`$JS.API.STREAM.DELETE.${name}`);
  }
}

/** All that an iterable yields. */
export async function collect<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of iterable) {
    all.push(each);
  }
  return all;
}

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A promise and what settles it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
