import type { Internals } from "../connection.js";
import { DurableCalls } from "./durable-calls.js";
import { type CallTransport, createTransport } from "./transport.js";

/** Makes the calls of all clients of a connection. */
export interface Caller {
  readonly calls: DurableCalls;
  readonly transport: CallTransport;
}

/** The caller of a connection, made when it is first needed. */
export function callerOf(own: Internals): Caller {
  own.caller ??= createCaller(own);
  return own.caller as Caller;
}

function createCaller({ link, settings }: Internals): Caller {
  const { limits, interceptors, onWaiting } = settings;
  const calls = new DurableCalls(link, limits, onWaiting, interceptors);
  return { calls, transport: createTransport(link, calls, settings) };
}
