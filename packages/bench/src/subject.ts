import type { OrderInit } from "./order.js";

/** A subject of the measurements. */
export interface Subject {
  /** As the tables and the rows of `--json` name it. */
  readonly name: string;
  readonly kind: SubjectKind;
  /** The nats-servers that its calls go through. Default: one. */
  readonly servers?: ServersName | undefined;
  /** Loads what only this subject needs. */
  load(): Promise<Way>;
}

/** Subjects of one kind are compared with each other. */
export type SubjectKind =
  | "unary"
  | "durable"
  | "replicas"
  | "stream"
  | "traced"
  | "gateway"
  | "gateway-stream";

/** True where a call has {@link streamMessages} messages, and each counts. */
export function isStream(kind: string): boolean {
  return kind === "stream" || kind === "gateway-stream";
}

/** One server, one that syncs its disk at each write, or three such servers. */
export type ServersName = "one" | "one-always" | "three-always";

/** One way to call. Each side of it runs in a process of its own. */
export interface Way {
  /** Starts the serving side. */
  serve(natsUrls: string[]): Promise<Served>;
  /** Starts the calling side. */
  connect(natsUrls: string[], address: string): Promise<Calls>;
}

/** A serving side that runs. */
export interface Served {
  /** For its clients. */
  readonly address: string;
  /** Servers between client and worker. Default: the nats-servers. */
  readonly serverPids?: readonly number[];
  /** Others between client and worker, beside those. */
  readonly furtherPids?: readonly number[];
}

/** Each makes one call with a message of this kind, and waits until it is done. */
export interface Calls {
  bytes(payload: Uint8Array): Promise<unknown>;
  /** Not where only streams are called. */
  order?(order: OrderInit): Promise<unknown>;
}

/** Bytes, or an order of some 20 fields. */
export type MessageKind = keyof Calls;

/** Messages of one call of a subject of the kind `stream`. */
export const streamMessages = 20_000;
