/**
 * Traces and metrics of jetrpc clients and workers, by OpenTelemetry.
 *
 * @module
 */
export { logFields } from "./log-fields.js";
export { observeQueues } from "./observe-queues.js";
export { type PinoLike, pinoLogger } from "./pino-logger.js";
export { type TelemetryOptions, telemetry } from "./telemetry.js";
