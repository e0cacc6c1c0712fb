import type { Msg } from "@nats-io/nats-core";
import { Header, HeaderBlock, wholeNumber } from "./header.js";

/** The cost of data frames before the receiver grants more, where it does not say. */
export const initialCredit = 64 * 1024;

/** Largest data frame, in bytes, where the server's max_payload is not smaller. */
export const maxFrameBytes = 64 * 1024;

/** Least data frame, in bytes, that a message is cut for. */
export const minFrameBytes = 4 * 1024;

/** Bytes of the number that begins a data frame. */
export const frameHeadBytes = 4;

/** The credit that a data frame takes: its bytes, and the cost of holding it. */
export function frameCost(frame: Uint8Array): number {
  return frame.length + 128;
}

/**
 * A frame that is no data: those have headers, and data frames have none.
 * - accept: a worker took the stream; requests go to the frame's reply subject, and
 *   may cost so much
 * - header: the response header is complete; it is metadata of this message
 * - credit: what data frames may cost in all; a frame may be sent while those
 *   before it cost less
 * - end: how many data frames were sent; nothing follows. A worker's carries the
 *   status of the call and the trailers.
 */
export type ControlFrame =
  | { readonly kind: "accept"; readonly bytes: number | undefined }
  | { readonly kind: "header" }
  | { readonly kind: "credit"; readonly bytes: number }
  | { readonly kind: "end"; readonly frames: number };

/** Headers of a control frame. */
export function controlHeaders(
  kind: ControlFrame["kind"] | "heartbeat",
  number?: number,
): HeaderBlock {
  return new HeaderBlock().add(Header.frame, number === undefined ? kind : `${kind} ${number}`);
}

/** Reads a control frame; undefined when the message is none. */
export function parseControl(message: Msg): ControlFrame | undefined {
  const [kind, text, ...rest] = (message.headers?.get(Header.frame) ?? "").split(" ");
  const number = wholeNumber(text);
  if (kind === "accept") {
    return { kind, bytes: number };
  }
  if (kind === "header") {
    return { kind };
  }
  if (number === undefined || rest.length > 0) {
    return undefined;
  }
  if (kind === "credit") {
    return { kind, bytes: number };
  }
  return kind === "end" ? { kind, frames: number } : undefined;
}

/** The beginning of a reply subject that the server made for a request of another account. */
export const importedReply = "_R_.";

/** True for a heartbeat on the reply subject itself. */
export function isHeartbeat({ headers }: Msg): boolean {
  return headers?.get(Header.frame) === "heartbeat";
}

/** The end of the subject for the heartbeats of a side that publishes on a subject. */
export const heartbeatSuffix = ".heartbeat";
