/**
 * What operators of a service do: dead letters, pauses, queues.
 *
 * @module
 */
export { DeadLetter } from "./operator/dead-letter.js";
export {
  createOperator,
  type DeadLetterFilter,
  type Operator,
  type QueueInfo,
  type SweepOptions,
} from "./operator/operator.js";
