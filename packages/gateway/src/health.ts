import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { HealthStatus } from "@jetrpc/runtime";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "./gen/grpc/health/v1/health_pb.js";
import { type Identity, mayCallSome } from "./identity.js";

/** What the service needs of the gateway. */
export interface HealthParts {
  /** Throws Unauthenticated or PermissionDenied unless whoever asks may know of a service. */
  check(service: string, context: HandlerContext): void;
  /** The services that whoever asks may call. */
  services(context: HandlerContext): Promise<readonly string[]>;
  /** True for a service of the gateway itself, which needs no worker. */
  isOwn(service: string): boolean;
  /** True for a service that had a worker once. */
  isKnown(service: string): boolean;
  /** Asks the workers of a service. */
  ask(service: string): Promise<HealthStatus>;
  /** Aborted when the gateway takes no more requests. */
  readonly stopping: AbortSignal;
}

/** Who asks for the health of the gateway without saying who it is, as load balancers do. */
const stranger: Identity = { name: "health checks of strangers", methods: [] };

/**
 * Who calls a path without saying who it is: a stranger may ask for the health of the gateway.
 * Throws the error of who may not.
 */
export function strangerAt(path: string, error: unknown): Identity {
  const isHealth = path.startsWith(`/${Health.typeName}/`);
  if (!isHealth || !(error instanceof ConnectError) || error.code !== Code.Unauthenticated) {
    throw error;
  }
  return stranger;
}

/** Throws Unauthenticated or PermissionDenied unless an identity may know of a service. */
export function checkAsked(identity: Identity, service: string): void {
  if (service === "" || mayCallSome(identity, service)) {
    return;
  }
  throw identity === stranger
    ? new ConnectError(`say who you are to ask for ${service}`, Code.Unauthenticated)
    : new ConnectError(`you may not call ${service}`, Code.PermissionDenied);
}

/** How long what workers answered counts, in ms. */
const freshMs = 1_000;
/** How often who watches looks again, in ms. */
const watchMs = 1_000;
/** Most services whose answers are kept. */
const maxKept = 1_000;

/**
 * Tells load balancers whether a service is served: SERVING while a worker takes its calls. The
 * service without a name is the gateway.
 */
export function health(parts: HealthParts): ServiceImpl<typeof Health> {
  const answers = new Map<string, { at: number; status: Promise<HealthStatus> }>();
  /** One question to the workers does for all who ask within a second. */
  const ask = (service: string): Promise<HealthStatus> => {
    const kept = answers.get(service);
    if (kept && Date.now() - kept.at < freshMs) {
      return kept.status;
    }
    if (answers.size >= maxKept) {
      answers.clear();
    }
    const status = parts.ask(service);
    answers.set(service, { at: Date.now(), status });
    return status;
  };
  const statusOf = async (service: string): Promise<ServingStatus> => {
    if (parts.stopping.aborted) {
      return ServingStatus.NOT_SERVING;
    }
    if (service === "" || parts.isOwn(service)) {
      return ServingStatus.SERVING;
    }
    if (service.length > 255 || !/^[a-z_]\w*(\.[a-z_]\w*)*$/i.test(service)) {
      return ServingStatus.SERVICE_UNKNOWN;
    }
    const status = await ask(service);
    if (status === "SERVICE_UNKNOWN") {
      return parts.isKnown(service) ? ServingStatus.NOT_SERVING : ServingStatus.SERVICE_UNKNOWN;
    }
    return ServingStatus[status];
  };
  return {
    async check({ service }, context) {
      parts.check(service, context);
      const status = await statusOf(service);
      if (status === ServingStatus.SERVICE_UNKNOWN) {
        throw new ConnectError(`no service here is ${service}`, Code.NotFound);
      }
      return { status };
    },

    async *watch({ service }, context) {
      parts.check(service, context);
      const { stopping } = parts;
      const signal = AbortSignal.any([context.signal, stopping]);
      let last: ServingStatus | undefined;
      while (!context.signal.aborted) {
        // While NATS is away, its calls fail.
        const status = await statusOf(service).catch(() => ServingStatus.NOT_SERVING);
        if (status !== last) {
          last = status;
          yield { status };
        }
        if (stopping.aborted) {
          throw new ConnectError("the gateway stops: watch again", Code.Unavailable);
        }
        await sleep(watchMs, undefined, { signal }).catch(() => undefined);
      }
    },

    async list(_request, context) {
      parts.check("", context);
      const names = ["", ...(await parts.services(context))];
      const all = names.map(async (name) => [name, { status: await statusOf(name) }] as const);
      return { statuses: Object.fromEntries(await Promise.all(all)) };
    },
  };
}
