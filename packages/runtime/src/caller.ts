/**
 * For packages that carry the calls of clients another way than over NATS, such as
 * `@jetrpc/web`. Apps need none of it, and it may change with each version.
 *
 * @module
 */

export { type CallVerbs, callHandle } from "./client/call-handle.js";
export { type AnyMethod, type Caller, connectionOf } from "./client/caller.js";
export type { CallArguments } from "./client/direct-request.js";
export { interceptStream, interceptSubmit, interceptUnary } from "./client/intercept.js";
export type { TransportArguments } from "./client/intercepted-call.js";
export { submitAll } from "./client/submit-all.js";
export { Interruptible, type Result } from "./link/interruptible.js";
export { canceled } from "./link/pending-reply.js";
export { checkTimeoutMs, startTimer } from "./link/timer.js";
export { neverRan } from "./message/error-marks.js";
export { type HeadersInit, toHeaders } from "./message/metadata.js";
export { onlyMessage } from "./message/only-message.js";
export type { Sha256 } from "./message/sha256.js";
export { attach, type Source, sourceOf } from "./objects/blob.js";
export { digestText, startHash } from "./objects/hash.js";
export type { OpenSource, StoredObject } from "./objects/object-writer.js";
export { bindMethod, type MethodBinding } from "./schema/binding.js";
export { blobsIn, holdsBlobs } from "./schema/blob-fields.js";
export { checkCallId } from "./schema/call-id.js";
