import { createConnectRouter, type HandlerContext } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { type Connection, checkHealth } from "@jetrpc/runtime";
import { callService } from "./call-service.js";
import type { Catalogue, Route } from "./catalogue.js";
import { Health } from "./gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "./gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "./gen/grpc/reflection/v1alpha/reflection_pb.js";
import { CallService } from "./gen/jetrpc/v1/call_service_pb.js";
import { checkAsked, health } from "./health.js";
import type { Identity } from "./identity.js";
import { requestOf } from "./request-context.js";
import { serverReflection } from "./server-reflection.js";
import type { Log } from "./to-client.js";
import { visibleServices } from "./visible-services.js";

/** The parts of a gateway that its own methods need. */
interface Parts {
  readonly catalogue: Catalogue;
  readonly maxMessageBytes: number;
  /** Ends what runs. */
  readonly shutdownSignal: AbortSignal;
  /** Fires when the gateway takes no more requests. */
  readonly stoppingSignal: AbortSignal;
  /** The method of a path, if an identity may call it. */
  readonly route: (path: string, identity: Identity) => Promise<Route>;
  readonly log: Log;
  /** Asks workers over the connection that discovery has. */
  readonly discover: <T>(ask: (connection: Connection) => Promise<T>) => Promise<T>;
}

const services = [CallService, Health, ServerReflection, ServerReflectionAlpha];

/**
 * The methods of the gateway itself, by their path: calls that are submitted, and what gRPC's
 * tools ask of a server, which services it has and how they are.
 */
export function ownMethods(parts: Parts): ReadonlyMap<string, UniversalHandler> {
  const { catalogue, shutdownSignal, log } = parts;
  const router = createConnectRouter({
    acceptCompression: [compressionGzip, compressionBrotli],
    readMaxBytes: parts.maxMessageBytes,
    shutdownSignal,
    jsonOptions: { registry: catalogue.types },
  });
  const route = (name: string, context: HandlerContext) =>
    parts.route(`/${name}`, requestOf(context).identity);
  router.service(CallService, callService({ route, log }));
  const visible = async (context: HandlerContext) => {
    await catalogue.refresh();
    const { identity } = requestOf(context);
    return [...visibleServices(services, {}), ...visibleServices(catalogue.all, identity)];
  };
  const reflection = serverReflection(visible);
  router.service(ServerReflection, reflection);
  // It has the same messages, of other names.
  router.service(ServerReflectionAlpha, reflection as never);
  router.service(
    Health,
    health({
      check: (service, context) => checkAsked(requestOf(context).identity, service),
      services: async (context) => (await visible(context)).map(({ desc }) => desc.typeName),
      isOwn: (service) => services.some(({ typeName }) => typeName === service),
      isKnown: (service) => catalogue.has(service),
      ask: (service) => parts.discover((connection) => checkHealth(connection, service)),
      stopping: parts.stoppingSignal,
    }),
  );
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}
