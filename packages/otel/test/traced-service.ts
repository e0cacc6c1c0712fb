import { type Connection, type LogRecord, startWorker, type Worker } from "@jetrpc/runtime";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { type TestClient, type TestImpl, useNats } from "../../runtime/test/support.js";
import type { TelemetryOptions } from "../src/index.js";
import { type Recorded, useTelemetry } from "./recorded.js";

/** A server, and workers and clients of the test's service that report to `recorded`. */
export interface TracedService {
  readonly nats: ReturnType<typeof useNats>;
  readonly recorded: Recorded;
  /** Starts a worker; all that it logs comes to `logged`. */
  serve(
    impl: TestImpl,
    options?: TelemetryOptions,
  ): Promise<{ worker: Worker; connection: Connection; logged: LogRecord[] }>;
  connect(options?: TelemetryOptions & { owner?: string }): Promise<TestClient>;
}

/** All that most tests of telemetry begin with; `common` holds for all workers and clients. */
export function useTracedService(common?: TelemetryOptions): TracedService {
  const nats = useNats();
  const recorded = useTelemetry();
  const observerOf = (options?: TelemetryOptions) => recorded.observer({ ...common, ...options });
  return {
    nats,
    recorded,
    async serve(impl, options) {
      const connection = await nats.connect({ as: "worker", observer: observerOf(options) });
      const logged: LogRecord[] = [];
      const worker = await startWorker(TestService, impl, connection, {
        logger: (record) => logged.push(record),
        drainTimeoutMs: 1_000,
      });
      return { worker, connection, logged };
    },
    connect: ({ owner, ...options } = {}) =>
      nats.client({ observer: observerOf(options), ...(owner && { owner }) }),
  };
}
