import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@jetrpc/runtime";
import {
  describeInfrastructure,
  findDrift,
  type PlannedChange,
  planService,
} from "@jetrpc/runtime/operator";
import { bindService, type ServiceBinding } from "@jetrpc/runtime/schema";
import type { ServerView } from "./console-options.js";
import {
  DriftKind,
  type DriftSchema,
  type ServiceInfrastructureSchema,
  type StreamSchema,
} from "./gen/jetrpc/console/v1/console_service_pb.js";
import type { Target } from "./target.js";
import { timesOf } from "./times.js";

/** JetStream's answer about a stream, as far as it is shown. */
interface StreamInfo {
  readonly config: {
    readonly storage: string;
    readonly num_replicas: number;
    readonly max_bytes?: number;
  };
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly consumer_count: number;
    readonly first_ts?: string;
    readonly last_ts?: string;
  };
  readonly cluster?: { readonly leader?: string };
}

const kinds: Readonly<Record<PlannedChange["kind"], DriftKind>> = {
  create: DriftKind.CREATE,
  change: DriftKind.CHANGE,
  destructive: DriftKind.DESTRUCTIVE,
  impossible: DriftKind.IMPOSSIBLE,
};

/** The streams of a service, and how they differ from its schema. */
export async function infrastructureOf(
  target: Target,
  view: ServerView,
  service: DescService,
): Promise<MessageInitShape<typeof ServiceInfrastructureSchema>> {
  const binding = bindService(service);
  const { streams, payloads } = describeInfrastructure(binding);
  const problems: string[] = [];
  const drift = await changesOf(target, service).catch((error: unknown) => {
    problems.push(ConnectError.from(error).rawMessage);
    return [];
  });
  const all: MessageInitShape<typeof StreamSchema>[] = [];
  for (const { name } of [...streams, payloads]) {
    try {
      all.push(await streamOf(target, view, binding, name));
    } catch (error) {
      problems.push(`stream ${name}: ${ConnectError.from(error).rawMessage}`);
    }
  }
  return {
    service: service.typeName,
    streams: all,
    drift: drift.map((change) => showChange(change, view)),
    problem: problems.join("; "),
  };
}

/** An administrator's credentials see the bucket of payloads, too; an operator's all else. */
async function changesOf({ connection }: Target, service: DescService) {
  try {
    return (await planService(connection, service)).changes;
  } catch {
    return await findDrift(connection, service);
  }
}

async function streamOf(
  target: Target,
  view: ServerView,
  binding: ServiceBinding,
  name: string,
): Promise<MessageInitShape<typeof StreamSchema>> {
  const info = await view.askJetStream<StreamInfo>(target.connection, `STREAM.INFO.${name}`);
  const its = { name, purpose: purposeOf(binding, name) };
  if (!info) {
    return { ...its, exists: false };
  }
  const { config, state, cluster } = info;
  const isEmpty = state.messages === 0;
  return {
    ...its,
    exists: true,
    messages: BigInt(state.messages),
    bytes: BigInt(state.bytes),
    maxBytes: BigInt(Math.max(0, config.max_bytes ?? 0)),
    consumers: state.consumer_count,
    ...(!isEmpty &&
      timesOf({
        firstAt: new Date(state.first_ts ?? Number.NaN),
        lastAt: new Date(state.last_ts ?? Number.NaN),
      })),
    storage: config.storage,
    replicas: config.num_replicas,
    leader: cluster?.leader ?? "",
  };
}

function purposeOf(binding: ServiceBinding, name: string): string {
  const { stream, logStream, progressStream, deadStream, laterStream } = binding;
  const purposes: Record<string, string> = {
    [stream]: "queue",
    [logStream]: "log",
    [progressStream]: "progress",
    [deadStream]: "dead letters",
    [laterStream]: "delayed calls",
  };
  return purposes[name] ?? "payloads";
}

function showChange(
  { kind, what, differences, reasons }: PlannedChange,
  { showSetting }: ServerView,
): MessageInitShape<typeof DriftSchema> {
  return {
    kind: kinds[kind],
    what,
    differences: differences.map(({ field, from, to }) => ({
      field,
      from: showSetting(field, from),
      to: showSetting(field, to),
    })),
    reasons: [...reasons],
  };
}
