import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { BulkAct as ActName, CallStory } from "@jetrpc/runtime/operator";
import { bindService, type MethodBinding } from "@jetrpc/runtime/schema";
import { Abilities } from "./abilities.js";
import type { ActLog } from "./act-log.js";
import {
  actName,
  actOnFitting,
  actOnNames,
  checkNames,
  countDone,
  type Progress,
} from "./call-acts.js";
import { operatorFilter, showFilter } from "./call-filter.js";
import { summaryOf } from "./call-summary.js";
import type { ActRecord, ServerView } from "./console-options.js";
import { groupDeadLetters } from "./dead-letter-groups.js";
import { delay } from "./delay.js";
import {
  type CallFilter,
  type CallName,
  type ConsoleService,
  Delivery,
  type MethodStateSchema,
  Role,
  type ServerSchema,
  type ServiceSchema,
  type WatchOverviewResponseSchema,
} from "./gen/jetrpc/console/v1/console_service_pb.js";
import { infrastructureOf } from "./infrastructure.js";
import { invalid } from "./invalid.js";
import { readMergedPage } from "./merged-page.js";
import { optionsOf } from "./method-options.js";
import { problemsOf, problemsOfMethod } from "./problems.js";
import { checkRequest, deadLetterOf } from "./request-check.js";
import type { Sampler } from "./sampler.js";
import { type ShowOptions, showMessages, showStory } from "./story.js";
import type { Target } from "./target.js";
import { timesOf } from "./times.js";
import { type User, userOf } from "./user.js";
import { showWorker, workersByService } from "./worker-view.js";

/** How often a call that is followed is looked at, in ms. */
const followMs = 1_000;

/** Messages of a response in one answer: by default, at most, and of a call that is followed. */
const messagesByDefault = 100;
const maxMessages = 1_000;
const messagesAtOnce = 100;

/** All that the methods need. */
export interface ServiceParts {
  readonly target: Target;
  readonly sampler: Sampler;
  readonly view: ServerView;
  readonly acts: ActLog;
  /** Hides values from the role `read`. */
  readonly mask: boolean;
  readonly version: string;
  /** True when a session can be ended, and another one begun. */
  readonly canLogOut: boolean;
}

/** The methods of the console. Who may call which was checked before. */
export function consoleService({
  target,
  sampler,
  view,
  acts,
  mask,
  version,
  canLogOut,
}: ServiceParts): ServiceImpl<typeof ConsoleService> {
  const abilities = new Abilities(target);
  const isMasked = ({ role }: User) => mask && role === "read";
  const showOptions = (context: HandlerContext): ShowOptions => {
    const { schema } = target;
    if (!schema) {
      throw new ConnectError(target.schemaProblem, Code.Unavailable);
    }
    return { registry: schema.registry, masked: isMasked(userOf(context)) };
  };
  /** A filter of who only looks. Throws PermissionDenied for one that would tell what is hidden. */
  const lookFilter = (filter: CallFilter | undefined, context: HandlerContext) => {
    if (filter?.contains && isMasked(userOf(context))) {
      throw requestsAreHidden();
    }
    return operatorFilter(filter);
  };
  const storyOf = async (name: CallName | undefined) => {
    const { service, method, owner, callId } = named(name);
    const binding = target.method(service, method);
    const { operator } = target.operator(service);
    return { binding, story: await operator.showCall({ method, owner, callId }) };
  };
  /** Does something to a method or a call, and logs it. */
  const record = <T>(
    context: HandlerContext,
    act: Pick<ActRecord, "act" | "target" | "call">,
    work: () => Promise<T>,
    outcomeOf: (result: T) => Pick<ActRecord, "outcome"> & Partial<ActRecord> = () => ({
      outcome: "done",
    }),
  ) => acts.record({ user: userOf(context).name, ...act }, work, outcomeOf);
  const actOn = async (context: HandlerContext, act: ActName, names: readonly CallName[]) => {
    const [only] = names;
    const isOne = only !== undefined && names.length === 1;
    checkNames(names);
    const list = names.map(showName).join(", ");
    return await record(
      context,
      { act, target: list, ...(isOne && { call: callOf(only) }) },
      async () => ({ outcomes: await actOnNames(target, act, names) }),
      ({ outcomes }) => countDone(outcomes),
    );
  };
  const overview = (): MessageInitShape<typeof WatchOverviewResponseSchema> => {
    const { seen } = sampler;
    return {
      at: timestampFromDate(seen.at),
      connected: target.isConnected,
      problems: problemsOf(target, seen),
      methods: seen.methods.map(({ figures }) => figures),
      series: sampler.series(),
      workers: workersByService(
        target.services.map(({ typeName }) => typeName),
        seen.workers,
      ),
    };
  };
  const methodState = (
    service: string,
    method: string,
  ): MessageInitShape<typeof MethodStateSchema> => {
    const binding = target.method(service, method);
    const { at, methods, workers } = sampler.seen;
    const its = methods.find(
      ({ figures }) => figures.service === service && figures.method === method,
    );
    return {
      at: timestampFromDate(at),
      connected: target.isConnected,
      figures: its?.figures ?? { service, method, delivery: deliveryOf(binding) },
      series: sampler.series(`${service}/${method}`),
      workers: workers
        .filter(
          (each) => each.service === service && each.methods.some(({ name }) => name === method),
        )
        .map(showWorker),
      options: optionsOf(binding),
      problems: its ? problemsOfMethod(its, at) : [],
    };
  };
  return {
    async getSession(_, context) {
      const user = userOf(context);
      return {
        user: user.name,
        role: user.role === "act" ? Role.ACT : Role.READ,
        masked: isMasked(user),
        ...timesOf({ expiresAt: user.expiresAt, samplingSince: sampler.since }),
        canLogOut: canLogOut && user.expiresAt !== undefined,
        refusals: await abilities.refusedTo(user),
        server: showServer(target, version),
        services: showServices(target),
        schemaProblem: target.schemaProblem,
      };
    },
    async *watchOverview(_, { signal }) {
      while (!signal.aborted) {
        const next = sampler.next(signal);
        yield overview();
        await next;
      }
      throw consoleEnds();
    },
    async getMethod({ service, method }) {
      return { state: methodState(service, method) };
    },
    async *watchMethod({ service, method }, { signal }) {
      while (!signal.aborted) {
        const next = sampler.next(signal);
        yield { state: methodState(service, method) };
        await next;
      }
      throw consoleEnds();
    },
    async pauseMethod({ service, method, until }, context) {
      const binding = target.method(service, method);
      const end = until && timestampDate(until);
      const name = `${service}.${binding.desc.name}`;
      const text = end ? `${name}, until ${end.toISOString()}` : name;
      const { operator } = target.operator(service);
      await record(context, { act: "pause", target: text }, () => operator.pause(method, end));
      await sampler.lookNow();
      return {};
    },
    async resumeMethod({ service, method }, context) {
      const { desc } = target.method(service, method);
      const { operator } = target.operator(service);
      const act = { act: "resume", target: `${service}.${desc.name}` };
      await record(context, act, () => operator.resume(method));
      await sampler.lookNow();
      return {};
    },
    async listCalls({ filter, pageSize, pageToken }, context) {
      const wanted = lookFilter(filter, context);
      await abilities.checkLook(filter?.service);
      const { calls, nextPageToken, lookedBackTo, looked, unread } = await readMergedPage(
        target.operators(filter?.service),
        wanted,
        pageSize || 100,
        pageToken,
      );
      const all = calls.map(({ service, call }) => summaryOf(service, call));
      const group = filter?.errorGroup ?? "";
      return {
        calls: group === "" ? all : all.filter(({ errorGroup }) => errorGroup === group),
        nextPageToken,
        ...timesOf({ lookedBackTo }),
        looked,
        unread,
      };
    },
    async countCalls({ service, windowSeconds }) {
      if (windowSeconds < 0 || windowSeconds > 86_400) {
        throw invalid(`window_seconds is ${windowSeconds}: give 0 to 86400`);
      }
      const windowMs = (windowSeconds || 300) * 1000;
      const all = await Promise.all(
        target.operators(service).map(async ({ service: desc, operator }) => {
          const counts = await operator.countCalls({ windowMs });
          return counts.map((count) => ({
            service: desc.typeName,
            method: count.method,
            scheduled: BigInt(count.scheduled),
            queued: BigInt(count.queued),
            running: BigInt(count.running),
            failed: BigInt(count.failed),
            ...timesOf({ oldestQueuedAt: count.oldestQueuedAt }),
            windowSeconds: count.recent.windowMs / 1000,
            recentAccepted: BigInt(count.recent.accepted),
            recentSucceeded: BigInt(count.recent.succeeded),
            recentFailed: BigInt(count.recent.failed),
            recentCancelled: BigInt(count.recent.cancelled),
            recentExpired: BigInt(count.recent.expired),
          }));
        }),
      );
      return { counts: all.flat() };
    },
    async getCall({ name, messagesFrom, messagesLimit }, context) {
      const { binding, story } = await storyOf(name);
      const limit = Math.min(messagesLimit || messagesByDefault, maxMessages);
      const range = { from: Math.max(0, messagesFrom), limit: Math.max(0, limit) };
      const options = showOptions(context);
      return {
        story: await showStory(binding, story, options),
        messages: await showMessages(binding, story, range, options),
      };
    },
    async *followCall({ name, messagesFrom }, context) {
      const { signal } = context;
      let from = Math.max(0, messagesFrom);
      let seen: string | undefined;
      while (!signal.aborted) {
        const { binding, story } = await storyOf(name);
        const now = changesIn(story);
        if (now !== seen || story.messages > from) {
          seen = now;
          const options = showOptions(context);
          const range = { from, limit: messagesAtOnce };
          const messages = await showMessages(binding, story, range, options);
          yield { story: await showStory(binding, story, options), messages, messagesFrom: from };
          from += messages.length;
          if (messages.length === messagesAtOnce) {
            continue;
          }
        }
        if (story.endedAt) {
          return;
        }
        await delay(followMs, signal);
      }
      throw consoleEnds();
    },
    async cancelCalls({ names }, context) {
      return await actOn(context, "cancel", names);
    },
    async replayCalls({ names }, context) {
      return await actOn(context, "replay", names);
    },
    async discardCalls({ names }, context) {
      return await actOn(context, "discard", names);
    },
    async checkRequest({ name, requestJson }, context) {
      if (isMasked(userOf(context))) {
        // Its answers would tell of the request that is there.
        throw requestsAreHidden();
      }
      const letter = await deadLetterOf(target, named(name));
      const { registry } = showOptions(context);
      return { problems: await checkRequest(letter, requestJson, registry) };
    },
    async replayCall({ name, requestJson }, context) {
      const its = named(name);
      const { registry } = showOptions(context);
      const letter = await deadLetterOf(target, its);
      const [problem] = await checkRequest(letter, requestJson, registry);
      if (problem) {
        const at = problem.path ? `${problem.path}: ` : "";
        throw invalid(
          `the request does not fit, and nothing was replayed: ${at}${problem.problem}`,
        );
      }
      return await record(
        context,
        { act: "replay", target: `${showName(its)}, with another request`, call: callOf(its) },
        async () => ({
          replayed: await letter.replay({ request: JSON.parse(requestJson), registry }),
        }),
        ({ replayed }) => ({
          outcome: replayed ? "done" : "nothing to do",
          count: Number(replayed),
        }),
      );
    },
    async *actOnCalls(request, context) {
      const { signal } = context;
      const act = actName(request.act);
      const text = showFilter(request.filter);
      const log = { user: userOf(context).name, act, target: text, failed: false };
      if (!request.dryRun) {
        await acts.add({ ...log, outcome: "begun" });
      }
      let last: Progress = {};
      let outcome = "cut short";
      let failed = false;
      // A response that cannot be written is thrown by `yield`: its client has gone.
      let isWriting = false;
      const leaves = new AbortController();
      const ends = AbortSignal.any([signal, leaves.signal]);
      try {
        for await (last of actOnFitting(target, request, ends)) {
          if (last.isComplete) {
            outcome = "done";
          }
          isWriting = true;
          yield last;
          isWriting = false;
        }
      } catch (error) {
        if (!isWriting) {
          failed = true;
          outcome = ConnectError.from(error).message;
        }
        throw error;
      } finally {
        leaves.abort();
        if (!request.dryRun) {
          await acts.add({ ...log, outcome, failed, count: Number(last.done ?? 0n) });
        }
      }
    },
    async groupDeadLetters({ filter }, context) {
      const wanted = lookFilter(filter, context);
      await abilities.checkLook(filter?.service);
      return await groupDeadLetters(target.operators(filter?.service), wanted);
    },
    async listWorkers({ service }) {
      const workers = await view.findWorkers(target.connection);
      const its = workers.filter((each) => service === "" || each.service === service);
      return { workers: its.map(showWorker) };
    },
    async getInfrastructure() {
      const services = target.services.map((each) => infrastructureOf(target, view, each));
      return { services: await Promise.all(services) };
    },
    async listActs() {
      return {
        file: acts.file,
        acts: acts.newest.map(({ at, user, act, target: text, call, outcome, failed, count }) => ({
          ...timesOf({ at: new Date(at) }),
          user,
          act,
          target: text,
          ...(call && { name: call }),
          outcome,
          failed,
          ...(count !== undefined && { count: BigInt(count) }),
        })),
      };
    },
  };
}

/** How a stream ends that would go on; who has left does not read it. */
function consoleEnds(): ConnectError {
  return new ConnectError("the console ends", Code.Unavailable);
}

function requestsAreHidden(): ConnectError {
  return new ConnectError("requests are hidden from your role, read", Code.PermissionDenied);
}

/** A name that is there. Throws InvalidArgument. */
function named(name: CallName | undefined): CallName {
  if (!name) {
    throw invalid("name is missing: service, method, owner and call_id of a call");
  }
  return { ...name, owner: name.owner || "_" };
}

function showName({ service, method, owner, callId }: CallName): string {
  return owner === "_"
    ? `${service}.${method} ${callId}`
    : `${service}.${method} ${callId} of ${owner}`;
}

function callOf({ service, method, owner, callId }: CallName): NonNullable<ActRecord["call"]> {
  return { service, method, owner: owner || "_", callId };
}

/** What changes when something happened to a call. */
function changesIn({ state, attempts, messages, progress, workers }: CallStory): string {
  const { done, total, message } = progress ?? {};
  return JSON.stringify([state, attempts, messages, done, total, message, workers], (key, value) =>
    key === "error" && value ? String(value) : value,
  );
}

function deliveryOf({ delivery }: MethodBinding): Delivery {
  return delivery === "durable" ? Delivery.DURABLE : Delivery.DIRECT;
}

function showServer(target: Target, consoleVersion: string): MessageInitShape<typeof ServerSchema> {
  const { connection, isConnected, address } = target;
  const { info } = connection.nats;
  return {
    connected: isConnected,
    name: info?.server_name ?? "",
    version: info?.version ?? "",
    cluster: info?.cluster ?? "",
    domain: connection.domain ?? "",
    address,
    consoleVersion,
  };
}

function showServices({ services }: Target): MessageInitShape<typeof ServiceSchema>[] {
  return services.map((service) => ({
    name: service.typeName,
    methods: [...bindService(service).methods.values()].map((binding) => ({
      name: binding.desc.name,
      delivery: deliveryOf(binding),
      kind: binding.desc.methodKind,
      input: binding.desc.input.typeName,
      output: binding.desc.output.typeName,
    })),
  }));
}
