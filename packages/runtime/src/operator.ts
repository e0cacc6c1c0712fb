/**
 * What operators of a service do: dead letters, pauses, queues, what the service
 * needs on the server, and who may do what there.
 *
 * @module
 */

export {
  createOperator,
  type DeadLetterFilter,
  type Operator,
  type QueueInfo,
  type SweepOptions,
} from "./operator/create-operator.js";
export { DeadLetter } from "./operator/dead-letter.js";
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
  type PlannedChange,
  planService,
  type ServicePlan,
} from "./operator/plan.js";
export { findRefused } from "./operator/refused.js";
export type { Difference } from "./schema/difference.js";
export {
  type ConsumerSettings,
  describeInfrastructure,
  type Infrastructure,
  type StreamSettings,
  type WantedConsumer,
} from "./schema/infrastructure.js";
