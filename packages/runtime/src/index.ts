/**
 * The runtime of jetrpc for any JavaScript: everything but what needs Node.
 *
 * @module
 */
export { Code, ConnectError } from "@connectrpc/connect";
export {
  bindMethod,
  bindService,
  checkService,
  type MethodBinding,
  type OptionProblem,
  type ServiceBinding,
} from "./wire/binding.js";
