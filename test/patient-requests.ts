import { Server } from "node:http";
import { NatsConnectionImpl } from "@nats-io/nats-core/internal";

// Loaded before each test file. The NATS client gives up a request after a second, that of
// JetStream after five, and then a test fails on a machine that is busy. A request that names
// another time keeps it.
const { request } = NatsConnectionImpl.prototype;
NatsConnectionImpl.prototype.request = function (subject, payload, options) {
  const { timeout = 5_000 } = options ?? {};
  const patient = { ...options, timeout: timeout === 5_000 ? 60_000 : timeout };
  return request.call(this, subject, payload, patient);
};

// A server of HTTP closes a connection that was idle for 5 s, and a busy test comes back to it
// in that moment: ECONNRESET.
Object.defineProperty(Server.prototype, "keepAliveTimeout", {
  get: () => 600_000,
  set: () => undefined,
  // Files of one process do so one after the other.
  configurable: true,
});
