/**
 * Reads what a schema says of its services: names, delivery, limits, and what is wrong with its
 * options. It needs no connection and loads no NATS client.
 *
 * @module
 */

export { apiPrefix } from "./schema/api-prefix.js";
export { bindService } from "./schema/bind-service.js";
export {
  bindMethod,
  type MethodBinding,
  type Priority,
  type Queue,
  type ServiceBinding,
} from "./schema/binding.js";
export { blobsIn, holdsBlobs } from "./schema/blob-fields.js";
export { codeName } from "./schema/code-name.js";
export { checkHandlers } from "./schema/handlers.js";
export { Discovery } from "./schema/micro-names.js";
export { checkService, type OptionProblem } from "./schema/option-problems.js";
export { typesOf } from "./schema/type-registry.js";
