/**
 * What a schema says of its services: names, delivery, limits, and what is wrong with its
 * options. It needs no connection and loads no NATS client.
 *
 * @module
 */
export {
  bindMethod,
  bindService,
  type MethodBinding,
  type Priority,
  type Queue,
  type ServiceBinding,
} from "./schema/binding.js";
export { checkService, type OptionProblem } from "./schema/option-problems.js";
