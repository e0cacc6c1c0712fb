import type { DescService } from "@bufbuild/protobuf";
import {
  type BidiStreamingMethod,
  type ClientStreamingMethod,
  Code,
  ConnectError,
  type Connection,
  type ConnectionOptions,
  createClient,
  type DurableServerStreamingMethod,
  type DurableUnaryMethod,
  type LogRecord,
  listServices,
  type ServerStreamingMethod,
  type ServiceInfo,
  startWorker,
  type UnaryMethod,
  type Worker,
  type WorkerImpl,
  type WorkerOptions,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import type { Grant } from "@jetrpc/runtime/operator";
import { type NatsOptions, type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { TestService as InteropService, UnimplementedService } from "./gen/grpc/testing/test_pb.js";
import {
  type RequestSchema,
  type ResponseSchema,
  ShortService,
  TestService,
} from "./gen/test/v1/test_pb.js";
import { isSecured, listStreams, makeStreams, type StreamInfo, TestUsers } from "./secured.js";

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

/** Who makes a connection; `root` does what tests do by hand. */
export type TestRole = "root" | "worker" | "client" | "operator" | "observer" | "reader";

/** Options of a connection of a test. */
export interface TestConnection extends ConnectionOptions {
  /** Default: that of the file's server. */
  url?: string;
  /** Default: root. */
  as?: TestRole;
  /** Outlives the test; whoever makes it closes it. */
  keep?: boolean;
}

const testServices = [TestService, ShortService, InteropService, UnimplementedService];

function createUsers(services: readonly DescService[]): TestUsers {
  const be = (grant: Omit<Grant, "service">) => services.map((service) => ({ ...grant, service }));
  const owners = ["_", "acme", "a", "b", "stranger"];
  return new TestUsers({
    worker: be({ role: "worker" }),
    operator: be({ role: "operator" }),
    observer: be({ role: "observer" }),
    reader: be({ role: "observer", mayRead: true }),
    ...Object.fromEntries(
      owners.map((owner) => [`client-${owner}`, be({ role: "client", owner, mayDelay: true })]),
    ),
  });
}

/**
 * How long a server may take to greet, in ms: no test waits so long, however slow the machine is.
 * A NATS client whose server is killed while it greets waits as long before it tries again: so
 * only connections that meet no such server have it.
 */
const patient = { timeout: 60_000 };

/** A server for all tests of a file, and what each test opens on it. */
export function useNats(services: readonly DescService[] = testServices) {
  let server: NatsServer;
  const open: (() => Promise<unknown>)[] = [];
  const users = isSecured ? createUsers(services) : undefined;
  const userOf = (role: TestRole, owner = "_") => (role === "client" ? `client-${owner}` : role);
  const connectRoot = (servers: string) =>
    connect({ nats: { ...patient, servers, ...users?.options("root") } });
  /** Cleans up after each test of the file. */
  let cleaner: Connection;
  /** True when a test has ended its server meanwhile: it may take long to be connected again. */
  let isCut = false;
  const openCleaner = async () => {
    cleaner = await connectRoot(server.url);
    isCut = false;
    void watchForCuts(cleaner, () => {
      isCut = true;
    });
  };
  /** Streams that no test has changed. */
  const unused = new Set<string>();
  const start = async (options: Pick<NatsOptions, "maxPayload"> = {}) => {
    const started = await startNats({ ...options, ...(users && { config: users.config }) });
    if (users) {
      const root = await connectRoot(started.url);
      await makeStreams(root, services);
      for (const stream of await listStreams(root)) {
        unused.add(JSON.stringify(asMade(stream)));
      }
      await root.close();
    }
    return started;
  };

  beforeAll(async () => {
    server = await start();
    await openCleaner();
  });
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) {
      await close();
    }
    if (isCut) {
      await cleaner.close();
      await openCleaner();
    }
    const left = await removeStreams(cleaner, unused);
    if (users) {
      await makeStreams(cleaner, services, left);
    }
  });
  afterAll(async () => {
    await cleaner?.close();
    await server?.stop();
  });

  const self = {
    get server(): NatsServer {
      return server;
    },
    /** Another server like it, for a test to end. */
    start,
    /** What a process needs to connect as somebody. */
    environment: (role: TestRole, url = server.url) => ({
      NATS_URL: url,
      ...users?.environment(userOf(role)),
    }),
    async connect(options: TestConnection = {}): Promise<Connection> {
      const { url = server.url, as = "root", keep = false, ...rest } = options;
      const user = users?.options(userOf(as, rest.owner));
      const connection = await connect({ ...rest, nats: { servers: url, ...user } });
      if (!keep) {
        open.push(() => connection.close());
      }
      return connection;
    },
    async client(options: TestConnection = {}): Promise<TestClient> {
      const connection = await self.connect({ as: "client", ...options });
      return createClient<TestClient>(TestService, connection);
    },
    async worker(
      impl: TestImpl,
      { url, ...options }: WorkerOptions & { url?: string } = {},
    ): Promise<Worker & { logged: LogRecord[]; connection: Connection }> {
      const connection = await self.connect({ as: "worker", ...(url && { url }) });
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

async function watchForCuts({ nats }: Connection, onCut: () => void): Promise<void> {
  for await (const { type } of nats.status()) {
    if (type === "disconnect") {
      onCut();
    }
  }
}

/** Removes all streams but those that are as they were made, and returns their names. */
async function removeStreams(
  connection: Connection,
  unused: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const left = new Set<string>();
  for (const stream of await listStreams(connection)) {
    const { name } = stream.config;
    if (unused.has(JSON.stringify(asMade(stream)))) {
      left.add(name);
    } else {
      await connection.nats.request(`$JS.API.STREAM.DELETE.${name}`);
    }
  }
  return left;
}

/** What tells a stream that was used or changed from a new one. */
function asMade({ config, state }: StreamInfo): object {
  return { config, last: state.last_seq, consumers: state.consumer_count };
}

/** All that an iterable yields. */
export async function collect<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of iterable) {
    all.push(each);
  }
  return all;
}

/** How long a test waits for something, in ms: it fails by then, before its own time is over. */
const patienceMs = 240_000;

/** Waits until something holds; fails with the words of it when it never does. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + patienceMs;
  for (let pauseMs = 10; !(await holds()); pauseMs = Math.min(pauseMs + 1, 100)) {
    if (performance.now() > end) {
      throw new Error(`after ${patienceMs / 1000} s it does not hold: ${holds}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** The running workers, when as many have answered: on a busy machine some answer late. */
export async function listedServices(
  connection: Connection,
  count: number,
): Promise<ServiceInfo[]> {
  let services: ServiceInfo[] = [];
  await until(async () => {
    services = await listServices(connection);
    return services.length >= count;
  });
  return services;
}

/** A drain limit that no test reaches, however slow the machine is. */
export const patientDrain = { drainTimeoutMs: 180_000 };

/** A promise and what settles it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/**
 * Submits a call whose time is short, as often as it takes: on a busy machine the time may be over
 * before it is accepted.
 */
export async function submittedInTime<C>(submit: () => Promise<C>): Promise<C> {
  for (;;) {
    try {
      return await submit();
    } catch (error) {
      if (ConnectError.from(error).code !== Code.DeadlineExceeded) {
        throw error;
      }
    }
  }
}

/**
 * Makes a call whose time is short until its handler has begun: on a busy machine the time may be
 * over before.
 */
export async function lateOnceBegun(
  begun: () => number,
  call: () => Promise<unknown>,
): Promise<void> {
  const before = begun();
  while (begun() === before) {
    expect((await failureOf(call())).code).toBe(Code.DeadlineExceeded);
  }
}

/** The ConnectError that a call ends with. */
export async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  const outcome = await call.then(
    () => new Error("it did not fail"),
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(ConnectError);
  return outcome as ConnectError;
}
