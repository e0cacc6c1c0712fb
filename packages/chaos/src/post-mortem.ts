import type { ServiceBinding } from "@jetrpc/runtime/schema";
import type { NatsConnection } from "@nats-io/transport-node";
import { callKey } from "./call-key.js";
import type { CallName } from "./message.js";
import { storedMessages } from "./stored-messages.js";

/** The length at which a header is cut, in characters. */
const longestHeader = 200;

/** The messages that the servers have of a call, a line each. */
export async function describeCall(
  nats: NatsConnection,
  binding: ServiceBinding,
  call: CallName,
): Promise<string[]> {
  const { prefix, stream, logStream, deadStream, laterStream, payloadBucket } = binding;
  const place = callKey(call);
  const found: string[] = [];
  for (const [name, subject] of [
    [stream, `${prefix}.queue.${place}`],
    [laterStream, `${prefix}.later.${place}`],
    [laterStream, `${prefix}.due.queue.${place}`],
    [logStream, `${prefix}.log.${place}.entry`],
    [deadStream, `${prefix}.dead.${place}`],
    [`OBJ_${payloadBucket}`, `$O.${payloadBucket}.C.*.${place}.>`],
  ] as const) {
    found.push(...(await messagesOf(nats, name, subject)));
  }
  return found.length > 0 ? found : ["no server has anything of it"];
}

/** The first messages of a subject: a stream may have many. */
async function messagesOf(nats: NatsConnection, stream: string, subject: string) {
  const lines: string[] = [];
  for await (const { sequence, time, headers, size, ...message } of storedMessages(
    nats,
    stream,
    subject,
  )) {
    const own = headers.filter((line) => /^(jetrpc-(?!status)|nats-(ttl|schedul))/i.test(line));
    const words = [time, message.subject, ...own.map((line) => line.slice(0, longestHeader))];
    lines.push(`${stream} ${sequence}: ${words.join(", ")}, ${size} bytes`);
    if (lines.length === 20) {
      break;
    }
  }
  return lines;
}

/** How far the streams with requests and their consumers are, a line for each. */
export async function describeQueues(
  nats: NatsConnection,
  { stream, laterStream }: ServiceBinding,
): Promise<string[]> {
  const lines: string[] = [];
  for (const name of [stream, laterStream]) {
    const { state } = await ask<StreamInfo>(nats, `STREAM.INFO.${name}`);
    const { messages, first_seq, last_seq, lost } = state;
    lines.push(
      `${name}: ${messages} messages, ${first_seq} to ${last_seq}` +
        (lost ? `, lost ${lost.msgs?.join(" ")}` : ""),
    );
    const { consumers } = await ask<ConsumerList>(nats, `CONSUMER.LIST.${name}`);
    for (const each of consumers ?? []) {
      lines.push(
        `${name} ${each.name}: ack floor ${each.ack_floor.stream_seq}, delivered to ${each.delivered.stream_seq}, ` +
          `num_pending ${each.num_pending}, num_ack_pending ${each.num_ack_pending}`,
      );
    }
  }
  return lines;
}

interface StreamInfo {
  readonly state: {
    readonly messages: number;
    readonly first_seq: number;
    readonly last_seq: number;
    /** The messages that the server missed when it started. */
    readonly lost?: { readonly msgs: readonly number[] | null };
  };
}

interface ConsumerList {
  readonly consumers?: readonly {
    readonly name: string;
    readonly ack_floor: { readonly stream_seq: number };
    readonly delivered: { readonly stream_seq: number };
    readonly num_pending: number;
    readonly num_ack_pending: number;
  }[];
}

async function ask<T>(nats: NatsConnection, api: string): Promise<T> {
  const reply = await nats.request(`$JS.API.${api}`, undefined, { timeout: 5000 });
  return reply.json() as T;
}
