import type { DescService } from "@bufbuild/protobuf";
import type { Connection } from "../connection.js";
import type { WorkerImpl } from "../worker/handler.js";
import { startWorker, type Worker, type WorkerOptions } from "../worker/worker.js";
import { connect } from "./connect.js";

/** Options of {@link serve}. */
export interface ServeOptions extends WorkerOptions {
  /** Connection to serve on; it stays open. Default: one made by `connect()`. */
  connection?: Connection;
  /** Signals that drain the worker. Default: SIGTERM and SIGINT. */
  signals?: NodeJS.Signals[];
}

/**
 * Connects to NATS and serves the methods that `impl` implements. Resolves
 * when the worker takes calls. On SIGTERM and SIGINT it takes nothing new,
 * finishes what runs and closes the connection, so that the process can end.
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
  const connection = options.connection ?? (await connect());
  const closeOwn = async () => {
    if (!options.connection) {
      await connection.close();
    }
  };
  let worker: Worker;
  try {
    worker = await startWorker(service, impl, connection, options);
  } catch (error) {
    await closeOwn();
    throw error;
  }
  const signals = options.signals ?? ["SIGTERM", "SIGINT"];
  const onSignal = () => void worker.drain();
  for (const signal of signals) {
    process.on(signal, onSignal);
  }
  const closed = worker.closed.finally(async () => {
    for (const signal of signals) {
      process.off(signal, onSignal);
    }
    await closeOwn();
  });
  return { drain: () => worker.drain().then(() => closed), closed };
}
