import { Code, ConnectError } from "@connectrpc/connect";
import type { ConsumerSettings, StreamSettings } from "../schema/infrastructure.js";
import { callApi } from "./jetstream.js";
import type { Link } from "./link.js";

/** A stream, as JetStream's API describes it, as far as it is read here. */
export interface StreamInfo {
  readonly config: Partial<StreamSettings>;
  readonly state: {
    readonly messages: number;
    readonly first_seq: number;
    /** That of the last message that was stored, though it may be gone. */
    readonly last_seq: number;
    /** When the oldest message was stored, in ISO 8601. */
    readonly first_ts: string;
  };
}

/** The same of a consumer. */
export interface ConsumerInfo {
  readonly stream_name: string;
  readonly name: string;
  readonly config: Partial<ConsumerSettings>;
  /** When the consumer was made, and when this was said, in ISO 8601. */
  readonly created: string;
  readonly ts?: string;
  readonly delivered: {
    readonly consumer_seq: number;
    readonly stream_seq: number;
    /** When it last delivered a message; left out when it has not since its server started. */
    readonly last_active?: string;
  };
  /** All up to it are acknowledged. */
  readonly ack_floor: { readonly stream_seq: number };
  /** Messages that nobody has. */
  readonly num_pending: number;
  /** Messages that a worker has. */
  readonly num_ack_pending: number;
}

/** Reads about a stream; undefined when it does not exist. Errors: those of {@link callApi}. */
export function streamInfo(link: Link, name: string): Promise<StreamInfo | undefined> {
  return callApi(link, `STREAM.INFO.${name}`, {});
}

/** Reads about a consumer; undefined when it or its stream does not exist. */
export function consumerInfo(
  link: Link,
  stream: string,
  name: string,
): Promise<ConsumerInfo | undefined> {
  return callApi(link, `CONSUMER.INFO.${stream}.${name}`, {});
}

/** Makes a stream. One that is the same already is fine. */
export async function createStream(link: Link, config: StreamSettings): Promise<void> {
  await mustExist(callApi(link, `STREAM.CREATE.${config.name}`, config), `stream ${config.name}`);
}

/** Gives a stream another configuration: the whole of it. */
export async function updateStream(link: Link, config: StreamSettings): Promise<void> {
  await mustExist(callApi(link, `STREAM.UPDATE.${config.name}`, config), `stream ${config.name}`);
}

/** Makes a consumer, or gives it another configuration. */
export async function putConsumer(
  link: Link,
  stream: string,
  config: ConsumerSettings,
  action: "create" | "update",
): Promise<void> {
  const body = { stream_name: stream, config, action };
  await mustExist(
    callApi(link, `CONSUMER.CREATE.${stream}.${config.name}`, body),
    `stream ${stream}`,
  );
}

/** All consumers of a stream; none when it does not exist. */
export async function listConsumers(link: Link, stream: string): Promise<ConsumerInfo[]> {
  const all: ConsumerInfo[] = [];
  for (;;) {
    const page = await callApi<{ total: number; consumers?: ConsumerInfo[] | null }>(
      link,
      `CONSUMER.LIST.${stream}`,
      { offset: all.length },
    );
    const consumers = page?.consumers ?? [];
    all.push(...consumers);
    if (consumers.length === 0 || all.length >= (page?.total ?? 0)) {
      return all;
    }
  }
}

/** Names of the streams that capture what a subject matches. */
export async function streamsOn(link: Link, subject: string): Promise<string[]> {
  const answer = await callApi<{ streams: string[] | null }>(link, "STREAM.NAMES", { subject });
  return answer?.streams ?? [];
}

async function mustExist(answer: Promise<unknown>, what: string): Promise<void> {
  if ((await answer) === undefined) {
    throw new ConnectError(`${what} does not exist`, Code.NotFound);
  }
}
