import { NatsConnectionImpl } from "@nats-io/nats-core/internal";

// Loaded before each test file. The NATS client gives up a request after a second, and
// then a test fails on a machine that is busy. A request that names a time keeps it.
const { request } = NatsConnectionImpl.prototype;
NatsConnectionImpl.prototype.request = function (subject, payload, options) {
  return request.call(this, subject, payload, { timeout: 60_000, ...options });
};
