import type { DescMethod, DescService } from "@bufbuild/protobuf";
import {
  createRouterTransport,
  type HandlerContext,
  type ServiceImpl,
  type Transport,
} from "@connectrpc/connect";
import type { DurableHandlerContext, ProgressReport, WorkerImpl } from "@jetrpc/runtime";
import { bindMethod, checkHandlers } from "@jetrpc/runtime/schema";

/** Options of {@link createTestTransport}: what the handlers of durable methods are told. */
export interface TestTransportOptions {
  /** Default: `test-1`, `test-2`, ... */
  callId?: string | undefined;
  /** Default: 1. */
  attempt?: number | undefined;
  /** Messages that earlier attempts stored. Default: 0. */
  resumeFrom?: number | undefined;
}

/** A progress report of a handler. */
export interface TestProgress extends ProgressReport {
  readonly method: DescMethod;
  readonly callId: string;
}

/** A transport to handlers in the same process. */
export interface TestTransport extends Transport {
  /** The reports of the handlers so far, in order. */
  readonly progress: readonly TestProgress[];
}

/**
 * Makes a Connect transport that calls the handlers of a worker in the same
 * process, without NATS: for tests of what the handlers do. Nothing is stored
 * and nothing tried again; tests of these need `startNats()`.
 *
 * A method that is not implemented answers with Code.Unimplemented. Throws
 * InvalidArgument when the service's options contradict each other, and for a handler
 * in `impl` whose method the service lacks.
 */
export function createTestTransport<S extends DescService>(
  service: S,
  impl: Partial<WorkerImpl<S>>,
  options: TestTransportOptions = {},
): TestTransport {
  const progress: TestProgress[] = [];
  let calls = 0;
  const durableContext = (context: HandlerContext): DurableHandlerContext => {
    const callId = options.callId ?? `test-${++calls}`;
    return Object.assign(Object.create(context) as HandlerContext, {
      callId,
      attempt: options.attempt ?? 1,
      resumeFrom: options.resumeFrom ?? 0,
      progress(report: ProgressReport) {
        progress.push({ ...report, method: context.method, callId });
      },
    });
  };

  checkHandlers(service, impl);
  const adapted: Record<string, Handler> = {};
  for (const method of service.methods) {
    const handler = (impl as Record<string, Handler | undefined>)[method.localName];
    if (typeof handler === "function") {
      const durable = bindMethod(method).delivery === "durable";
      adapted[method.localName] = (request, context) =>
        handler.call(impl, request, durable ? durableContext(context) : context);
    }
  }
  const transport = createRouterTransport((router) => {
    router.service(service, adapted as Partial<ServiceImpl<S>>);
  });
  return Object.assign(transport, { progress });
}

// biome-ignore lint/suspicious/noExplicitAny: the descriptor gives the types at run time
type Handler = (request: any, context: any) => any;
