/**
 * The console: a web page that shows what runs, and acts on durable calls.
 *
 * @module
 */
export { type Console, startConsole } from "./console.js";
export type {
  ActRecord,
  ConsoleOptions,
  OidcLogin,
  Role,
  RunningMethod,
  RunningWorker,
  Schema,
  ServerView,
  TokenLogin,
} from "./console-options.js";
export { ConsoleService } from "./gen/jetrpc/console/v1/console_service_pb.js";
export { readMethods } from "./roles.js";
