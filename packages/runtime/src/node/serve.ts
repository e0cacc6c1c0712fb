import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Connection, ConnectionOptions } from "../connection.js";
import type { WorkerImpl } from "../worker/handler.js";
import { guardLogger, type Logger } from "../worker/logger.js";
import { startWorker, type Worker } from "../worker/worker.js";
import type { WorkerOptions } from "../worker/worker-options.js";
import { connectWith } from "./connect.js";
import { logToStderr, printRecord } from "./stderr-logger.js";
import { stopOn } from "./stop-signals.js";

/** Options of {@link serve}. */
export interface ServeOptions extends Omit<WorkerOptions, "logger"> {
  /** Connection to serve on; it stays open. Default: one made by `connect()`. */
  connection?: Connection | undefined;
  /**
   * Observer of the connection that is made: `telemetry()` of `@jetrpc/otel` is one. One that is
   * given has its own. Default: none.
   */
  observer?: ConnectionOptions["observer"];
  /** Signals that drain the worker. Default: SIGTERM and SIGINT. */
  signals?: NodeJS.Signals[] | undefined;
  /**
   * Takes what the worker has to say; `false` for nobody. Default: warnings and errors are
   * written to stderr, a line each: for people on a terminal, JSON elsewhere.
   */
  logger?: Logger | false | undefined;
}

/**
 * Connects to NATS and serves the methods that `impl` implements. Resolves
 * when the worker takes calls. On SIGTERM and SIGINT it takes nothing new,
 * finishes what runs and closes the connection, so that the process can end; at a
 * second SIGINT the process ends at once, with exit code 130.
 * When the server comes to refuse the credentials, `closed` rejects: a process
 * that does not catch it ends with that error.
 *
 * Errors: those of {@link connect} and of {@link startWorker}.
 */
export async function serve<S extends DescService>(
  service: S,
  impl: Partial<WorkerImpl<S>>,
  options: ServeOptions = {},
): Promise<Worker> {
  const { logger = logToStderr, signals = ["SIGTERM", "SIGINT"], ...workerOptions } = options;
  const { observer } = options;
  if (observer && options.connection) {
    throw new ConnectError(
      "serve() has a connection and an observer: give the observer to connect()",
      Code.InvalidArgument,
    );
  }
  const connection = options.connection ?? (await connectWith(undefined, { observer }));
  const closeOwn = async () => {
    if (connection !== options.connection) {
      await connection.close();
    }
  };
  let worker: Worker;
  try {
    worker = await startWorker(service, impl, connection, {
      ...workerOptions,
      logger: logger || undefined,
    });
  } catch (error) {
    await closeOwn();
    throw error;
  }
  const ignore = stopOn(signals, {
    get running() {
      return worker.running;
    },
    stop: () => void worker.drain(),
    log: logger === logToStderr ? printRecord : guardLogger(logger || undefined),
  });
  const closed = worker.closed.finally(async () => {
    ignore();
    await closeOwn();
  });
  const drain = () => worker.drain().then(() => closed);
  return {
    get running() {
      return worker.running;
    },
    drain,
    [Symbol.asyncDispose]: drain,
    closed,
  };
}
