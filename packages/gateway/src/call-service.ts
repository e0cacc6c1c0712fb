import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  type Any,
  AnySchema,
  type Duration,
  durationMs,
  timestampDate,
  timestampFromDate,
} from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { CallStatus } from "@jetrpc/runtime";
import { codeName } from "@jetrpc/runtime/schema";
import type { Route } from "./catalogue.js";
import { type AnyCall, durableMethod, messagesOf, submitCall } from "./durable-method.js";
import {
  type CallError,
  CallErrorSchema,
  CallPriority,
  type CallService,
  CallState,
  type StatusResponse,
  StatusResponseSchema,
} from "./gen/jetrpc/v1/call_service_pb.js";
import { metadataInto, outward, timeLeft } from "./proxy.js";
import { callMetadata, connectionOf } from "./request-context.js";
import type { Log } from "./to-client.js";

/** What the service needs of the gateway. */
export interface CallServiceParts {
  /**
   * The method of a name, `pdf.v1.PdfService/Split`, that whoever calls may call. Throws
   * PermissionDenied; Unimplemented when nobody has it.
   */
  route(name: string, context: HandlerContext): Promise<Route>;
  readonly log: Log;
}

/** Submits durable calls of any method, and comes back to them. */
export function callService(parts: CallServiceParts): ServiceImpl<typeof CallService> {
  const durableRoute = async (name: string, context: HandlerContext): Promise<Route> => {
    const route = await parts.route(name, context);
    if (route.delivery !== "durable") {
      const text = `${route.desc.toString()} is a direct method: call it, it has no calls to come back to`;
      throw new ConnectError(text, Code.FailedPrecondition);
    }
    return route;
  };
  const attach = async (
    { method, callId }: { method: string; callId: string },
    context: HandlerContext,
  ): Promise<{ call: AnyCall; route: Route }> => {
    const route = await durableRoute(method, context);
    return { route, call: durableMethod(connectionOf(context), route.raw).attach(callId) };
  };
  return {
    async submit({ method, request, callId, timeout, notBefore, priority }, context) {
      const route = await durableRoute(method, context);
      const message = unpack(request, route);
      const call = await submitCall(connectionOf(context), route.raw, message, {
        headers: callMetadata(context),
        callId: callIdOf(callId, context.requestHeader),
        timeoutMs: timeout && timeoutMsOf(timeout),
        notBefore: notBefore && timestampDate(notBefore),
        priority: priorityOf(priority),
        signal: context.signal,
      });
      return { method, callId: call.id };
    },

    async status(request, context) {
      const { call } = await attach(request, context);
      return toStatus(await call.status({ signal: context.signal }));
    },

    async *follow(request, context) {
      const { call } = await attach(request, context);
      const { signal } = context;
      const first = await call.status({ signal });
      yield { update: { case: "status", value: toStatus(first) } };
      if (first.endedAt) {
        return;
      }
      for await (const progress of call.progress({ signal })) {
        yield { update: { case: "progress", value: progress } };
      }
      yield { update: { case: "status", value: toStatus(await call.status({ signal })) } };
    },

    async result(request, context) {
      const { call, route } = await attach(request, context);
      if (!call.result) {
        const text = `${route.desc.toString()} has a streamed response: ask for its Messages`;
        throw new ConnectError(text, Code.FailedPrecondition);
      }
      const wait = {
        ...metadataInto(context),
        signal: context.signal,
        timeoutMs: timeLeft(context),
      };
      const message = await call.result(wait).catch((error: unknown) => {
        throw outward(error, parts.log);
      });
      return { response: pack(message, route) };
    },

    async *messages({ from, ...request }, context) {
      const { call, route } = await attach(request, context);
      let index = from;
      try {
        for await (const message of messagesOf(call, {
          ...metadataInto(context),
          from,
          signal: context.signal,
        })) {
          yield { index, message: pack(message, route) };
          index += 1;
        }
      } catch (error) {
        throw outward(error, parts.log);
      }
    },

    async cancel(request, context) {
      const { call } = await attach(request, context);
      return { cancelled: await call.cancel({ signal: context.signal }) };
    },
  };
}

/** The call id of a request; undefined for a new one. Throws InvalidArgument for two. */
export function callIdOf(callId: string, header: Headers): string | undefined {
  const key = header.get("idempotency-key") ?? "";
  if (callId !== "" && key !== "" && callId !== key) {
    const text = `the call has two ids, ${callId} and, as Idempotency-Key, ${key}: give one`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  return callId || key || undefined;
}

const typePrefix = "type.googleapis.com/";

/** The message within an Any, as bytes. Throws InvalidArgument for one of another type. */
function unpack(any: Any | undefined, { raw }: Route): Message {
  const { typeName } = raw.input;
  const given = any?.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
  if (any === undefined || given !== typeName) {
    const has = any ? any.typeUrl : "none";
    const text = `${raw.toString()} takes a request of type ${typePrefix}${typeName}, and got ${has}`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  try {
    return fromBinary(raw.input, any.value);
  } catch (cause) {
    const text = `cannot parse ${any.value.length} bytes as ${typeName}`;
    throw new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
  }
}

function pack(message: Message, { raw }: Route): Any {
  const typeUrl = `${typePrefix}${raw.output.typeName}`;
  return create(AnySchema, { typeUrl, value: toBinary(raw.output, message) });
}

const priorities = {
  [CallPriority.UNSPECIFIED]: undefined,
  [CallPriority.LOW]: "low",
  [CallPriority.NORMAL]: "normal",
  [CallPriority.HIGH]: "high",
} as const;

/** Throws InvalidArgument for one that this gateway does not know. */
function priorityOf(priority: CallPriority) {
  if (!(priority in priorities)) {
    throw new ConnectError(`there is no priority ${priority}`, Code.InvalidArgument);
  }
  return priorities[priority];
}

/** Throws InvalidArgument for a time that was over before it began. */
function timeoutMsOf(timeout: Duration): number {
  const timeoutMs = durationMs(timeout);
  if (timeoutMs < 0) {
    throw new ConnectError(`the timeout is ${timeoutMs} ms`, Code.InvalidArgument);
  }
  return timeoutMs;
}

const states = {
  scheduled: CallState.SCHEDULED,
  queued: CallState.QUEUED,
  running: CallState.RUNNING,
  retrying: CallState.RETRYING,
  succeeded: CallState.SUCCEEDED,
  failed: CallState.FAILED,
  cancelled: CallState.CANCELLED,
  expired: CallState.EXPIRED,
} as const;

function toStatus(status: CallStatus): StatusResponse {
  return create(StatusResponseSchema, {
    state: states[status.state],
    ...timestamps({ acceptedAt: status.acceptedAt, endedAt: status.endedAt }),
    attempts: status.attempts.map(({ attempt, startedAt, endedAt, retryAt, error }) => ({
      attempt,
      ...timestamps({ startedAt, endedAt, retryAt }),
      ...(error && { error: toError(error) }),
    })),
    messages: status.messages,
    ...(status.progress && { progress: status.progress }),
    ...(status.error && { error: toError(status.error) }),
    ...(status.workers !== undefined && { workers: status.workers }),
  });
}

function toError({ code, rawMessage }: ConnectError): CallError {
  return create(CallErrorSchema, { code: codeName(code), message: rawMessage });
}

function timestamps(dates: Record<string, Date | undefined>) {
  return Object.fromEntries(
    Object.entries(dates).flatMap(([name, date]) =>
      date ? [[name, timestampFromDate(date)]] : [],
    ),
  );
}
