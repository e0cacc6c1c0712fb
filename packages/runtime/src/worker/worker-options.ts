import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { MessageLimitOptions } from "../message/codec.js";
import { checkInterceptors } from "../message/interceptor-chain.js";
import type { Logger } from "./logger.js";

/** Options of a worker. */
export interface WorkerOptions extends MessageLimitOptions {
  /**
   * How many calls of each durable method run at once, unless its option
   * `concurrency` says otherwise. Default: 10.
   */
  concurrency?: number | undefined;
  /**
   * How many direct calls of all methods run at once; beyond it other workers
   * take over, and when all are busy calls wait. Default: no limit.
   */
  directConcurrency?: number | undefined;
  /** Run around every call, the first outermost. Default: none. */
  interceptors?: Interceptor[] | undefined;
  /**
   * Answers calls of methods that `impl` lacks with Unimplemented, as Connect and
   * gRPC do. Leave it off where other workers implement them. Default: false.
   */
  answerUnimplemented?: boolean | undefined;
  /**
   * Sends the text of errors that are no ConnectErrors to callers. It may hold
   * what is not for them: for development. Default: false.
   */
  revealErrors?: boolean | undefined;
  /** Version of the worker, as discovery shows it: a semantic version. Default: 0.0.0. */
  version?: string | undefined;
  /**
   * How long drain() waits for running calls before it stops them, in ms. It takes no
   * longer than this and 5 s, whatever the server does. Default: 30 s.
   */
  drainTimeoutMs?: number | undefined;
  /** Takes what the worker has to say. Default: nothing is logged. */
  logger?: Logger | undefined;
}

/** Throws InvalidArgument for an option that is impossible. */
export function checkOptions({
  concurrency = 1,
  directConcurrency = 1,
  drainTimeoutMs = 0,
  interceptors,
}: WorkerOptions) {
  checkInterceptors(interceptors);
  for (const [name, value] of Object.entries({ concurrency, directConcurrency })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw impossible(name, value, "a whole number of 1 or more");
    }
  }
  if (!(drainTimeoutMs >= 0)) {
    throw impossible("drainTimeoutMs", drainTimeoutMs, "0 or more");
  }
}

function impossible(option: string, value: unknown, must: string): ConnectError {
  return new ConnectError(`${option} is ${value}, and must be ${must}`, Code.InvalidArgument);
}
