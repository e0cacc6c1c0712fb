import type { CallSettings } from "../connection.js";
import type { Link } from "../link/link.js";
import { LateCode } from "../message/late-code.js";
import type { Caller } from "./caller.js";
import { durableMethod } from "./durable-method.js";
import { createTransport } from "./transport.js";

/** Makes what makes the calls of clients over NATS. */
export function createCaller(link: Link, settings: CallSettings): Caller {
  // Loaded when a client with durable methods is made.
  const durable = new LateCode("durable calls", async () => {
    const { DurableTransport } = await import("./durable-transport.js");
    return new DurableTransport(link, settings);
  });
  return {
    ...createTransport(link, durable, settings),
    durable: (method) => durableMethod(method, durable, link.owner),
  };
}
