import type { JsonObject, Message, Registry } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { Blob } from "../gen/jetrpc/v1/blob_pb.js";
import type { Progress } from "../gen/jetrpc/v1/call_pb.js";
import type { AttemptStatus, CallStateName } from "../ledger/status-fold.js";
import type { DeadLetter } from "./dead-letter.js";

/** Names a call. */
export interface CallReference {
  /** Name of the method, as the .proto writes it or as the client does. */
  method: string;
  callId: string;
  /** Default: `_`. */
  owner?: string | undefined;
}

/** A Blob of a request or of a response; `openBlob(blob)` reads it. */
export interface CallBlob {
  readonly of: "request" | "response";
  /** Which message of the response, from 0. */
  readonly message?: number | undefined;
  readonly fileName: string;
  readonly contentType: string;
  /** In bytes. */
  readonly size: number;
  readonly blob: Blob;
}

/** Which messages of a response are wanted. */
export interface ResponseRange {
  /** The first one, from 0. Default: 0. */
  from?: number | undefined;
  /** How many at most. Default: all. */
  limit?: number | undefined;
}

/**
 * All that the server knows of a call. It does not know who waits for the result: followers
 * listen by core NATS, and read logs by themselves.
 */
export interface CallStory {
  readonly method: string;
  readonly owner: string;
  readonly callId: string;
  readonly state: CallStateName;
  readonly acceptedAt?: Date | undefined;
  readonly endedAt?: Date | undefined;
  /** Of a scheduled call: when it starts at the earliest. */
  readonly startsAt?: Date | undefined;
  /** When its time is over, where it has a limit and has not ended. */
  readonly deadline?: Date | undefined;
  /** A first attempt that succeeds at once leaves no trace but the end. */
  readonly attempts: readonly AttemptStatus[];
  /** Messages of the response that are stored; of a unary call 1 when it succeeded. */
  readonly messages: number;
  /** The last report of the handler. */
  readonly progress?: Progress | undefined;
  /** The error of a call that did not succeed, with its details. */
  readonly error?: ConnectError | undefined;
  /** Metadata of the request; undefined where the server has the request no more. */
  readonly requestHeader?: Headers | undefined;
  /** True when the server has the request: of a call that has not ended, and of a dead letter. */
  readonly hasRequest: boolean;
  /** Its dead letter: has the request, and replays or discards it. */
  readonly deadLetter?: DeadLetter | undefined;
  /**
   * Of a call that waits for a worker: how many running workers serve its method; undefined
   * when that could not be found out.
   */
  readonly workers?: number | undefined;
  /**
   * The request, decoded. Throws NotFound when the server has it no more (a call that ended
   * and did not fail), InvalidArgument when it cannot be decoded.
   */
  request(): Promise<Message>;
  /** The request as it was sent. Throws NotFound like {@link request}. */
  requestBytes(): Promise<Uint8Array>;
  /**
   * Messages of the response that are stored, decoded, in their order: of a unary call that
   * succeeded, one. Throws DataLoss for one that cannot be decoded.
   */
  responses(range?: ResponseRange): AsyncIterable<Message>;
  /** The same as they were sent. */
  responseBytes(range?: ResponseRange): AsyncIterable<Uint8Array>;
  /** The Blobs of the request, where the server has it, and of the response. */
  blobs(): Promise<CallBlob[]>;
  /**
   * Ends the call as canceled, unless it has ended. Returns false when it had. Throws
   * PermissionDenied for credentials that may only look.
   */
  cancel(): Promise<boolean>;
  /**
   * All of it, for a person or a program to read; what cannot be decoded in base64. The first 100
   * messages of the response. `registry` has what fields of `Any` may hold. Default: the types
   * of the service's file and of all that it imports.
   */
  toJson(registry?: Registry): Promise<JsonObject>;
}
