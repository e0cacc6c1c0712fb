import type { Msg } from "@nats-io/nats-core";
import { ReceivedHeaders } from "./received-headers.js";

/** The parts of a message that the NATS client keeps: the bytes, and what it has read of them. */
interface Parts {
  readonly _msg?: { readonly hdr: number };
  readonly _rdata?: Uint8Array;
  _headers?: unknown;
}

/**
 * Makes a message that came in safe and cheap to read: its headers become
 * {@link ReceivedHeaders}, in the place where the NATS client would keep its own.
 */
export function readable(message: Msg): Msg {
  const parts = message as unknown as Parts;
  const length = parts._msg?.hdr ?? -1;
  if (length >= 0 && parts._rdata) {
    parts._headers = new ReceivedHeaders(parts._rdata.subarray(0, length));
  }
  return message;
}

/** The defect of the header block of a {@link readable} message; undefined when it has none. */
export function defectOf({ headers }: Msg): string | undefined {
  return (headers as ReceivedHeaders | undefined)?.defect;
}
