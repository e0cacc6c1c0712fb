import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Connection, internalsOf } from "../connection.js";
import { refuseOtherDomain } from "../link/domain.js";
import { callApi } from "../link/jetstream.js";
import {
  type ConsumerInfo,
  createStream,
  listConsumers,
  putConsumer,
  streamInfo,
  streamsOn,
  updateStream,
} from "../link/jetstream-admin.js";
import type { Link } from "../link/link.js";
import { until } from "../link/until.js";
import { causedError } from "../message/caused-error.js";
import { bindService } from "../schema/bind-service.js";
import type { ServiceBinding } from "../schema/binding.js";
import { type Difference, findDifferences } from "../schema/difference.js";
import {
  describeInfrastructure,
  describeStreams,
  type StreamSettings,
  type WantedConsumer,
} from "../schema/infrastructure.js";
import { createOperator } from "./create-operator.js";
import { judgeConsumer, judgeStream } from "./verdict.js";

/** Something on the server that is not as the schema says. */
export interface PlannedChange {
  /**
   * - `create`: it is absent.
   * - `change`: JetStream changes it in place, and nothing is lost.
   * - `destructive`: applying it removes something, or drops or strands what is stored.
   * - `impossible`: JetStream refuses it; `reasons` say what to do.
   */
  readonly kind: "create" | "change" | "destructive" | "impossible";
  /** `stream PDF_LOG`, or `consumer Split of stream PDF`. */
  readonly what: string;
  /** Empty for what is made or removed as a whole. */
  readonly differences: readonly Difference[];
  /** Facts that a person has to know of it. */
  readonly reasons: readonly string[];
}

/** How {@link ServicePlan.apply} goes about it. */
export interface ApplyOptions {
  /** Does what is destructive, too. Default: false. */
  allowDestructive?: boolean | undefined;
  /** Told of each change that is done. */
  onApplied?: ((change: PlannedChange) => void) | undefined;
}

/** The changes after which the server is as the schema of a service says. */
export interface ServicePlan {
  /** Full name of the service. */
  readonly service: string;
  /** In the order in which they are done. Empty when nothing differs. */
  readonly changes: readonly PlannedChange[];
  /**
   * Does it, all or nothing: it begins only when all of it may be done. Workers and
   * clients may be at work meanwhile.
   *
   * Errors: FailedPrecondition when something is impossible, or destructive and not
   * allowed; PermissionDenied, Unavailable and what JetStream refuses, in the middle
   * of it: plan again then.
   */
  apply(options?: ApplyOptions): Promise<void>;
}

/** How long to wait for a server, or for the leader of a stream, in ms. */
const patienceMs = 5_000;

interface Step extends PlannedChange {
  run(): Promise<unknown>;
}

/**
 * Compares the streams, consumers and the bucket of a service with its schema.
 * Changes nothing. Anything else on the server is left alone.
 *
 * Errors: InvalidArgument for impossible options, PermissionDenied when these
 * credentials may not look, FailedPrecondition when the account has no JetStream, or
 * another domain has the streams, Unavailable.
 */
export async function planService(
  connection: Connection,
  service: DescService,
): Promise<ServicePlan> {
  const { link } = internalsOf(connection);
  const binding = bindService(service);
  const buryStrays = () => createOperator(connection, service).buryStrays();
  const find = () => findSteps(link, binding, buryStrays);
  const steps = await until(link, find, { timeoutMs: patienceMs });
  return {
    service: service.typeName,
    changes: steps.map(changeOf),
    apply: (options = {}) => applySteps(service, steps, options),
  };
}

/**
 * The same as {@link planService} finds, for credentials that may only look, as an observer's: without
 * the bucket of large payloads, and without asking whether another domain has the streams.
 *
 * Errors: InvalidArgument for impossible options, PermissionDenied when these credentials may
 * not look, FailedPrecondition when the account has no JetStream, Unavailable.
 */
export async function findDrift(
  connection: Connection,
  service: DescService,
): Promise<PlannedChange[]> {
  const { link } = internalsOf(connection);
  const find = () => findSteps(link, bindService(service), undefined);
  return (await until(link, find, { timeoutMs: patienceMs })).map(changeOf);
}

function changeOf({ kind, what, differences, reasons }: Step): PlannedChange {
  return { kind, what, differences, reasons };
}

async function applySteps(
  service: DescService,
  steps: readonly Step[],
  { allowDestructive = false, onApplied }: ApplyOptions,
): Promise<void> {
  const refused = steps.filter(
    ({ kind }) => kind === "impossible" || (kind === "destructive" && !allowDestructive),
  );
  if (refused.length > 0) {
    const list = refused.map(
      ({ kind, what, reasons }) => `${what} (${kind}: ${reasons.join("; ")})`,
    );
    throw new ConnectError(
      `${service.typeName}: nothing was changed, because of ${list.join(", ")}`,
      Code.FailedPrecondition,
    );
  }
  for (const step of steps) {
    try {
      await step.run();
    } catch (cause) {
      const { code, rawMessage } = ConnectError.from(cause);
      throw causedError(`${step.what}: ${rawMessage}`, code, cause);
    }
    onApplied?.(step);
  }
}

/** Without a way to bury strays, the steps are for those who only look. */
async function findSteps(
  link: Link,
  service: ServiceBinding,
  buryStrays: (() => Promise<unknown>) | undefined,
): Promise<Step[]> {
  const { streams, payloads, consumers } = describeInfrastructure(service);
  const steps: Step[] = [];
  if (buryStrays) {
    await refuseOtherDomain(link, service, service.methods.values());
    steps.push(...(streams.length === 0 ? await planStreamRemovals(link, service) : []));
  }
  for (const wanted of buryStrays ? [...streams, payloads] : streams) {
    steps.push(...(await planStream(link, wanted, buryStrays !== undefined)));
  }
  const queues = streams.filter(({ retention }) => retention === "workqueue");
  for (const { name } of queues) {
    const there = await listConsumers(link, name);
    const wanted = consumers.filter(({ stream }) => stream === name);
    // First, as no two consumers of a queue may have the same subjects.
    for (const info of there) {
      const isWanted = wanted.some(({ config }) => config.name === info.name);
      if (info.config.durable_name && !isWanted) {
        steps.push(planRemoval(link, service, info, buryStrays));
      }
    }
    for (const each of wanted) {
      const info = there.find(({ name }) => name === each.config.name);
      steps.push(...planConsumer(link, each, info));
    }
  }
  return steps;
}

async function planStream(
  link: Link,
  wanted: StreamSettings,
  findsRivals: boolean,
): Promise<Step[]> {
  const what = `stream ${wanted.name}`;
  const info = await streamInfo(link, wanted.name);
  if (!info) {
    const rivals = findsRivals ? await rivalsOf(link, wanted) : [];
    return [
      {
        kind: rivals.length > 0 ? "impossible" : "create",
        what,
        differences: [],
        reasons: rivals.map(
          (name) =>
            `stream ${name} has its subjects: take the old name back, or remove ${name} with all that it holds and apply again`,
        ),
        run: () => createStream(link, wanted),
      },
    ];
  }
  const differences = findDifferences(wanted, info.config);
  // A setting that the schema lacks is for administrators.
  const run = () => updateStream(link, { ...info.config, ...wanted });
  return differences.length > 0
    ? [{ ...judgeStream(differences, wanted, info), what, differences, run }]
    : [];
}

/** Plans the removal of the streams of a service that has no durable method any more. */
async function planStreamRemovals(link: Link, service: ServiceBinding): Promise<Step[]> {
  const steps: Step[] = [];
  for (const { name } of describeStreams(service)) {
    const info = await streamInfo(link, name);
    if (info?.config.subjects?.every((subject) => subject.startsWith(`${service.prefix}.`))) {
      steps.push({
        kind: "destructive",
        what: `stream ${name}`,
        differences: [],
        reasons: [
          `${service.desc.name} has no durable method any more: the stream is removed with what it holds (${info.state.messages} messages)`,
        ],
        run: () => callApi(link, `STREAM.DELETE.${name}`, {}),
      });
    }
  }
  return steps;
}

/** Other streams that capture what a stream is to capture: JetStream allows one. */
async function rivalsOf(link: Link, { subjects = [] }: StreamSettings): Promise<string[]> {
  const names = await Promise.all(subjects.map((subject) => streamsOn(link, subject)));
  return [...new Set(names.flat())];
}

function planConsumer(link: Link, wanted: WantedConsumer, info: ConsumerInfo | undefined): Step[] {
  const { stream, config } = wanted;
  const what = `consumer ${config.name} of stream ${stream}`;
  if (!info) {
    const run = () => putConsumer(link, stream, config, "create");
    return [{ kind: "create", what, differences: [], reasons: [], run }];
  }
  const differences = findDifferences(config, info.config);
  const run = () => putConsumer(link, stream, { ...info.config, ...config }, "update");
  return differences.length > 0
    ? [{ ...judgeConsumer(differences, info), what, differences, run }]
    : [];
}

/** Plans the removal of a consumer whose queue the schema does not have any more. */
function planRemoval(
  link: Link,
  service: ServiceBinding,
  info: ConsumerInfo,
  buryStrays: (() => Promise<unknown>) | undefined,
): Step {
  const { name, stream_name: stream } = info;
  const what = `consumer ${name} of stream ${stream}`;
  const unfinished = info.num_pending + info.num_ack_pending;
  const subject = info.config.filter_subject ?? "";
  // One of a priority is named `<Method>-<priority>`.
  const [method] = name.split("-");
  const calls = unfinished === 1 ? "1 call waits or runs" : `${unfinished} calls wait or run`;
  const remove = () => callApi(link, `CONSUMER.DELETE.${stream}.${name}`, {});
  const isStray = service.desc.methods.every((each) => each.name !== method);
  if (!isStray && unfinished > 0) {
    const reason = `${method} has no queue ${subject} any more, and ${calls} there: let workers of the old schema end them first`;
    return { kind: "impossible", what, differences: [], reasons: [reason], run: remove };
  }
  const reason = isStray
    ? `the schema has no method ${method} any more: the consumer is removed, and queued calls become dead letters (${calls}). Stop workers that serve it first`
    : `the schema has no queue ${subject} any more: the consumer is removed`;
  return {
    kind: "destructive",
    what,
    differences: [],
    reasons: [reason],
    async run() {
      await remove();
      await buryStrays?.();
    },
  };
}
