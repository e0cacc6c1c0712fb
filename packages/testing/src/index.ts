/**
 * For tests of jetrpc services: a real nats-server of one's own, and handlers
 * called without a server.
 *
 * @module
 */
export {
  type FindNatsServerOptions,
  findNatsServer,
  type NatsServerBinary,
} from "./find-nats-server.js";
export { type NatsOptions, type NatsServer, type StopSignal, startNats } from "./start-nats.js";
export {
  type NatsCluster,
  type NatsClusterOptions,
  startNatsCluster,
} from "./start-nats-cluster.js";
export {
  createTestTransport,
  type TestProgress,
  type TestTransport,
  type TestTransportOptions,
} from "./test-transport.js";
