import type { Labels, Samples } from "./samples.js";

/** The fields of a server's /jsz that are used here. */
export interface Jsz {
  readonly disabled?: boolean;
  readonly config?: {
    readonly max_memory?: number;
    readonly max_storage?: number;
    readonly domain?: string;
  };
  readonly streams?: number;
  readonly consumers?: number;
  readonly messages?: number;
  readonly bytes?: number;
  readonly meta_cluster?: Group & { readonly name?: string };
  readonly account_details?: readonly Account[] | null;
}

/** A Raft group: of JetStream itself, of a stream or of a consumer. */
interface Group {
  readonly leader?: string;
  readonly replicas?: readonly Replica[] | null;
}

interface Replica {
  readonly name: string;
  readonly current?: boolean;
  readonly offline?: boolean;
  readonly lag?: number;
}

interface Account {
  readonly name: string;
  readonly id?: string;
  readonly memory?: number;
  readonly storage?: number;
  readonly reserved_memory?: number;
  readonly reserved_storage?: number;
  readonly stream_detail?: readonly Stream[] | null;
}

interface Stream {
  readonly name: string;
  readonly stream_raft_group?: string;
  readonly cluster?: Group;
  readonly config?: { readonly max_bytes?: number; readonly max_msgs?: number };
  readonly state: Readonly<Record<string, unknown>>;
  readonly consumer_detail?: readonly Consumer[] | null;
}

interface Consumer {
  readonly name: string;
  readonly ts: string;
  readonly config?: { readonly durable_name?: string; readonly description?: string };
  readonly cluster?: Group;
  readonly delivered: Sequences;
  readonly ack_floor: Sequences;
  readonly num_ack_pending: number;
  readonly num_redelivered: number;
  readonly num_waiting: number;
  readonly num_pending: number;
}

interface Sequences {
  readonly consumer_seq: number;
  readonly stream_seq: number;
  readonly last_active?: string;
}

/** Most consumers of a server that are told one by one: a page of 10,000 has 36 MB. */
const maxConsumers = 2_000;

/** Metrics of a server, an account, a stream and a consumer, under their usual names. */
export function collectJetStream(jsz: Jsz, server: string, samples: Samples): void {
  const { config = {}, meta_cluster: meta } = jsz;
  const labels = {
    server_id: server,
    server_name: server,
    cluster: meta?.name ?? "",
    domain: config.domain ?? "",
    meta_leader: meta?.leader ?? "",
    is_meta_leader: leads(meta, server),
  };
  setAll(samples, "jetstream_server", labels, {
    jetstream_disabled: Number(jsz.disabled ?? false),
    max_memory: config.max_memory,
    max_storage: config.max_storage,
    total_streams: jsz.streams,
    total_consumers: jsz.consumers,
    total_messages: jsz.messages,
    total_message_bytes: jsz.bytes,
  });
  const { domain } = labels;
  collectReplicas(meta, server, { domain, account: "", stream_name: "" }, samples);
  const accounts = jsz.account_details ?? [];
  const streams = accounts.flatMap(({ stream_detail }) => stream_detail ?? []);
  const consumers = streams.reduce((sum, stream) => sum + durablesOf(stream).length, 0);
  const isTold = consumers <= maxConsumers;
  const help = `Consumers that are not told, as there are more than ${maxConsumers}`;
  const left = isTold ? 0 : consumers;
  samples.gauge("jetrpc_consumers_left_out", help, { server_id: server }, left);
  for (const account of accounts) {
    const own = {
      ...labels,
      account: account.name,
      account_name: account.name,
      account_id: account.id ?? "",
    };
    setAll(samples, "jetstream_account", own, {
      max_memory: account.reserved_memory,
      max_storage: account.reserved_storage,
      memory_used: account.memory,
      storage_used: account.storage,
    });
    for (const stream of account.stream_detail ?? []) {
      const labels = collectStream(stream, server, own, samples);
      for (const consumer of isTold ? durablesOf(stream) : []) {
        collectConsumer(consumer, server, labels, samples);
      }
    }
  }
}

/** Others come and go with each reader, and their names are secrets. */
function durablesOf({ consumer_detail }: Stream): Consumer[] {
  return (consumer_detail ?? []).filter(({ config }) => config?.durable_name);
}

/** Returns the labels of the stream. */
function collectStream(
  { name, cluster, stream_raft_group, config, state }: Stream,
  server: string,
  account: Labels,
  samples: Samples,
): Labels {
  const labels = {
    ...account,
    stream_name: name,
    stream_leader: cluster?.leader ?? "",
    is_stream_leader: leads(cluster, server),
    stream_raft_group: stream_raft_group ?? "",
  };
  setAll(samples, "jetstream_stream", labels, {
    total_messages: state["messages"],
    total_bytes: state["bytes"],
    first_seq: state["first_seq"],
    last_seq: state["last_seq"],
    consumer_count: state["consumer_count"],
    subject_count: state["num_subjects"] ?? 0,
    limit_bytes: config?.max_bytes,
    limit_messages: config?.max_msgs,
  });
  const { domain = "", account: of = "" } = account;
  collectReplicas(cluster, server, { domain, account: of, stream_name: name }, samples);
  return labels;
}

function collectConsumer(
  consumer: Consumer,
  server: string,
  stream: Labels,
  samples: Samples,
): void {
  const { name, cluster, config, delivered, ack_floor, ts } = consumer;
  const labels = {
    ...stream,
    consumer_name: name,
    consumer_leader: cluster?.leader ?? "",
    is_consumer_leader: leads(cluster, server),
    consumer_desc: config?.description ?? "",
  };
  const since = (time: string | undefined) =>
    time === undefined ? undefined : (Date.parse(ts) - Date.parse(time)) / 1000;
  setAll(samples, "jetstream_consumer", labels, {
    delivered_consumer_seq: delivered.consumer_seq,
    delivered_stream_seq: delivered.stream_seq,
    last_delivery_seconds: since(delivered.last_active),
    last_ack_seconds: since(ack_floor.last_active),
    num_ack_pending: consumer.num_ack_pending,
    num_redelivered: consumer.num_redelivered,
    num_waiting: consumer.num_waiting,
    num_pending: consumer.num_pending,
    ack_floor_stream_seq: ack_floor.stream_seq,
    ack_floor_consumer_seq: ack_floor.consumer_seq,
  });
}

/** The copies of a stream, or of JetStream's own state, as its leader sees them. */
function collectReplicas(
  group: Group | undefined,
  server: string,
  of: Labels,
  samples: Samples,
): void {
  if (group?.leader !== server) {
    return;
  }
  for (const { name, current = false, offline = false, lag = 0 } of group.replicas ?? []) {
    const labels = { server_id: server, ...of, replica: name };
    const isCurrent = Number(current && !offline);
    samples.gauge("jetrpc_replica_current", "1 when a copy is up to date", labels, isCurrent);
    samples.gauge("jetrpc_replica_lag", "How many writes a copy is behind", labels, lag);
  }
}

/** Without a cluster the server leads all. */
function leads(group: Group | undefined, server: string): string {
  return String(group === undefined || group.leader === server);
}

function setAll(
  samples: Samples,
  prefix: string,
  labels: Labels,
  values: Readonly<Record<string, unknown>>,
): void {
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === "number") {
      samples.gauge(`${prefix}_${name}`, `${name} of /jsz`, labels, value);
    }
  }
}
