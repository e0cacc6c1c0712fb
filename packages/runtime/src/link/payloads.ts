import type { MsgHdrs } from "@nats-io/nats-core";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";

/** A message whose payload may be an object. */
export interface Carrier {
  readonly data: Uint8Array;
  readonly headers?: MsgHdrs | undefined;
}

/** How a payload is stored. */
export interface PutOptions {
  /** After so many ms the server removes it. Default: never. */
  readonly ttlMs?: number | undefined;
  /** Goes on after what is there: the name must say what the bytes are. Default: false. */
  readonly resumes?: boolean;
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Keeps payloads above the server's max_payload; the message then carries a reference in
 * their place. Handed in where the connection is made: a link stores no objects itself.
 */
export interface Payloads {
  /** Stores the payload of a direct call and returns its reference. */
  putDirect(method: MethodBinding, payload: Uint8Array): Promise<string>;

  /** Stores a payload under the name of its object and returns its reference. */
  put(
    service: ServiceBinding,
    name: string,
    payload: Uint8Array,
    options: PutOptions,
  ): Promise<string>;

  /**
   * Reads a payload. Throws DataLoss when its object is gone, PermissionDenied
   * when its name does not begin with `space`, InvalidArgument for what is no
   * reference, and ResourceExhausted when it has more than `maxBytes`.
   */
  get(
    service: ServiceBinding,
    reference: string,
    space: string,
    maxBytes?: number,
  ): Promise<Uint8Array>;

  /** The payload of a message, wherever it is kept. Errors: see {@link get}. */
  load(
    service: ServiceBinding,
    message: Carrier,
    space: string,
    maxBytes?: number,
  ): Promise<Uint8Array>;

  /** Removes a payload that nobody needs any more. */
  delete(service: ServiceBinding, reference: string): void;
}
