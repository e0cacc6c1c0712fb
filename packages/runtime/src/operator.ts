/**
 * The work of operators of a service: dead letters, pauses, queues, what the service
 * needs on the server, and who may do what there.
 *
 * @module
 */

export { askWorkers } from "./operator/ask-workers.js";
export type {
  BulkAct,
  BulkFailure,
  BulkFilter,
  BulkOptions,
  BulkProgress,
} from "./operator/bulk.js";
export type { CallCounts, CountOptions, RecentCalls } from "./operator/call-counts.js";
export type { CallFilter, PageOptions } from "./operator/call-filter.js";
export { callStates, openStates } from "./operator/call-filter.js";
export type { CallOperator } from "./operator/call-operator.js";
export type {
  CallBlob,
  CallReference,
  CallStory,
  ResponseRange,
} from "./operator/call-story.js";
export type { FieldProblem } from "./operator/check-request.js";
export {
  createOperator,
  type DeadLetterFilter,
  type Operator,
  type QueueInfo,
  type SweepOptions,
} from "./operator/create-operator.js";
export { DeadLetter, type ReplayOptions } from "./operator/dead-letter.js";
export type { CallPage, ListedCall } from "./operator/listed-call.js";
export {
  type ConfiguredAccount,
  type ConfiguredUser,
  createUserKey,
  type JwtClaims,
  type JwtPermission,
  toJwtClaims,
  toServerConfig,
  type UserKey,
} from "./operator/permission-formats.js";
export {
  type Grant,
  inboxPrefixOf,
  type PermissionList,
  type Permissions,
  permissionsOf,
  type Role,
  type User,
} from "./operator/permissions.js";
export {
  type ApplyOptions,
  findDrift,
  type PlannedChange,
  planService,
  type ServicePlan,
} from "./operator/plan.js";
export { findRefused } from "./operator/refused.js";
export { firstMessage, type MessageInStream, storedMessages } from "./operator/stored-messages.js";
export type { Difference } from "./schema/difference.js";
export {
  type ConsumerSettings,
  describeInfrastructure,
  type Infrastructure,
  type StreamSettings,
  type WantedConsumer,
} from "./schema/infrastructure.js";
