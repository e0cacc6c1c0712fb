/**
 * The runtime of jetrpc for any JavaScript: everything but what needs Node.
 *
 * @module
 */
export {
  Code,
  ConnectError,
  type HandlerContext,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
export type {
  Call,
  MessagesOptions,
  SignalOptions,
  StreamingCall,
  SubmitOptions,
  UnaryCall,
  WaitOptions,
} from "./client/call.js";
export type { CallOptions } from "./client/call-options.js";
export type { CallStatus } from "./client/call-status.js";
export { createClient } from "./client/client.js";
export { createConnection } from "./client/create-connection.js";
export {
  checkHealth,
  type DiscoveryOptions,
  describeService,
  type HealthStatus,
  listServices,
  type MethodInfo,
  type ServiceInfo,
} from "./client/discovery.js";
export type {
  BidiStreamingMethod,
  ClientStreamingMethod,
  Durable,
  DurableServerStreamingMethod,
  DurableUnaryMethod,
  ServerStreamingMethod,
  UnaryMethod,
} from "./client/method.js";
export { createRetryInterceptor, type RetryOptions } from "./client/retry-interceptor.js";
export type { Submitted } from "./client/submit-all.js";
export type { ClientConnection } from "./client-connection.js";
export type { Connection, ConnectionOptions, WaitingCall } from "./connection.js";
export type { Blob } from "./gen/jetrpc/v1/blob_pb.js";
export type { Progress } from "./gen/jetrpc/v1/call_pb.js";
export type { AttemptStatus, CallStateName } from "./ledger/status-fold.js";
export type {
  AttemptOutcome,
  CallOutcome,
  CreateObserver,
  ObservedAttempt,
  ObservedMethod,
  ObservedSlots,
  ObservedSubmission,
  Observer,
  RequestHeaders,
  Watch,
} from "./link/observer.js";
export { mayHaveRun, permanent, retryAfter } from "./message/error-marks.js";
export {
  type BlobInfo,
  type BlobSource,
  type BlobStream,
  blobOf,
  openBlob,
} from "./objects/blob.js";
export { type BatchContext, type BatchOptions, batched } from "./worker/batched.js";
export type { DurableHandlerContext, ProgressReport } from "./worker/context.js";
export type { GeneratedService, WorkerImpl } from "./worker/handler.js";
export type { Logger, LogLevel, LogRecord } from "./worker/logger.js";
export { startWorker, type Worker } from "./worker/worker.js";
export type { WorkerOptions } from "./worker/worker-options.js";
