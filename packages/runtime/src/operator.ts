/**
 * What operators of a service do: dead letters, pauses, queues, and what the
 * service needs on the server.
 *
 * @module
 */
export { DeadLetter } from "./operator/dead-letter.js";
export {
  createOperator,
  type DeadLetterFilter,
  type Operator,
  type QueueInfo,
} from "./operator/operator.js";
export {
  type ApplyOptions,
  type PlannedChange,
  planService,
  type ServicePlan,
} from "./operator/plan.js";
export type { Difference } from "./wire/difference.js";
export {
  type ConsumerSettings,
  describeInfrastructure,
  type Infrastructure,
  type StreamSettings,
  type WantedConsumer,
} from "./wire/infrastructure.js";
