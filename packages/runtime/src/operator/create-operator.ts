import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Connection, internalsOf } from "../connection.js";
import type { PlacedCall } from "../ledger/call-places.js";
import {
  buryCall,
  buryStray,
  deleteMessage,
  findDeadLetter,
  nextDeadLetter,
} from "../ledger/dead-letters.js";
import { endCall } from "../ledger/ending.js";
import { countCalls, nextOf, pauseMethod } from "../ledger/queues.js";
import { StoredRequest } from "../ledger/stored-request.js";
import { Interruptible } from "../link/interruptible.js";
import type { Link } from "../link/link.js";
import { until } from "../link/until.js";
import { countWorkers } from "../link/workers.js";
import { bindService } from "../schema/bind-service.js";
import { durableMethods, type ServiceBinding } from "../schema/binding.js";
import { anyOwner, checkOwner, nameCall } from "../schema/call-id.js";
import { actAs, lookAs } from "./act-as.js";
import {
  actOnAll,
  type BulkAct,
  type BulkFilter,
  type BulkOptions,
  type BulkProgress,
} from "./bulk.js";
import { type CallCounts, type CountOptions, countAll } from "./call-counts.js";
import {
  type CallFilter,
  durableMethod,
  letterMethod,
  openStates,
  type PageOptions,
  Selection,
} from "./call-filter.js";
import type { CallOperator } from "./call-operator.js";
import type { CallReference, CallStory } from "./call-story.js";
import { DeadLetter } from "./dead-letter.js";
import {
  beginList,
  checkPageSize,
  readOneId,
  readPage,
  readToken,
  writeToken,
} from "./list-calls.js";
import { type CallPage, ListedCall } from "./listed-call.js";
import { PassedOver } from "./passed-over.js";
import { readStory } from "./read-story.js";
import { sweepObjects } from "./sweep.js";

/** A method that never ends its pause: far enough for JetStream. */
const forEver = new Date("2200-01-01T00:00:00Z");

/** How much of a method's work is where. */
export interface QueueInfo {
  /** Name of the method. */
  readonly method: string;
  /** Calls that no worker has yet. */
  readonly queued: number;
  /** Calls that a worker has, or that wait for their next attempt. */
  readonly running: number;
  /**
   * Running workers that serve the method and answered discovery; 1 where none did but
   * one pulls.
   */
  readonly workers: number;
  /** Until when the method is paused. */
  readonly pausedUntil?: Date;
}

/** The acts of an operator of a service. It needs an administrator's permissions on JetStream. */
export interface Operator extends CallOperator {
  /**
   * Calls that failed for good, the oldest first. Throws InvalidArgument for an owner or an id
   * that no call can have, and for a method that the service lacks and that has no dead letter.
   */
  deadLetters(filter?: DeadLetterFilter): AsyncIterable<DeadLetter>;
  /**
   * Lets workers take no further calls of a method; calls are accepted, and what
   * runs ends. Default: until `resume()`. Throws InvalidArgument for a time that is over.
   */
  pause(method: string, until?: Date): Promise<void>;
  /** Ends a pause. */
  resume(method: string): Promise<void>;
  /** How much waits and runs, for each durable method. */
  queues(): Promise<QueueInfo[]>;
  /**
   * Ends queued calls whose method this schema does not have, with Unimplemented, and
   * makes dead letters of them. Call it when no worker serves an older or newer schema. Returns their number.
   */
  buryStrays(): Promise<number>;
  /**
   * Removes large payloads and Blobs whose call is gone: of clients that crashed
   * while they uploaded, of dead letters that are older than their retention.
   * Returns their number.
   */
  sweepPayloads(options?: SweepOptions): Promise<number>;
}

/** Options of `sweepPayloads()`. */
export interface SweepOptions {
  /** A younger object stays: it may be of an upload under way. In ms; default: 1 day. */
  olderThanMs?: number | undefined;
}

/** Which dead letters are wanted. Default: all. */
export interface DeadLetterFilter {
  /** Name of the method. */
  method?: string | undefined;
  owner?: string | undefined;
  callId?: string | undefined;
}

/** Operates a service. All that it offers throws Unavailable when JetStream does not answer. */
export function createOperator(connection: Connection, service: DescService): Operator {
  const { link } = internalsOf(connection);
  return new ServiceOperator(link, bindService(service));
}

class ServiceOperator implements Operator {
  constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
  ) {}

  deadLetters(filter: DeadLetterFilter = {}): AsyncIterable<DeadLetter> {
    return new Interruptible(this.readDeadLetters(filter));
  }

  private async *readDeadLetters(
    filter: DeadLetterFilter,
  ): AsyncGenerator<DeadLetter, void, undefined> {
    const { link, service } = this;
    const { method, owner, callId } = filter;
    // Of a method that the schema has no more there may be letters: see buryStrays().
    const its = method === undefined ? "*" : letterMethod(service, method);
    const whose = owner === undefined ? "*" : checkOwner(owner);
    const call = callId === undefined ? `${whose}.>` : nameCall(whose, callId).suffix;
    for (let from = 1; ; ) {
      const next = () => nextDeadLetter(link, service, `${its}.${call}`, from);
      const stored = await lookAs("see dead letters", () => until(link, next));
      if (!stored) {
        if (from === 1 && method !== undefined) {
          durableMethod(service, method);
        }
        return;
      }
      from = stored.sequence + 1;
      const letter = DeadLetter.read(link, service, StoredRequest.of(stored));
      if (letter) {
        yield letter;
      }
    }
  }

  async listCalls(filter: CallFilter = {}, page: PageOptions = {}): Promise<CallPage> {
    const { link, service } = this;
    const selection = new Selection(service, filter);
    const pageSize = checkPageSize(page);
    const { pageToken } = page;
    const known = pageToken ? readToken(selection, pageToken) : undefined;
    return await lookAs("list calls", async () => {
      const { calls, next, lookedBackToMs, looked, unread } = selection.isOfOneId
        ? await readOneId(link, service, selection)
        : await readPage(
            link,
            service,
            selection,
            known ?? (await beginList(link, service, selection)),
            pageSize,
          );
      return {
        calls: calls.map((each) => new ListedCall(each)),
        looked,
        unread,
        ...(next && { nextPageToken: writeToken(selection, next) }),
        ...(lookedBackToMs !== undefined && { lookedBackTo: new Date(lookedBackToMs) }),
      };
    });
  }

  calls(filter: CallFilter = {}): AsyncIterable<ListedCall> {
    return new Interruptible(this.readCalls(filter));
  }

  private async *readCalls(filter: CallFilter): AsyncGenerator<ListedCall, void, undefined> {
    let pageToken: string | undefined;
    do {
      const page: CallPage = await this.listCalls(filter, { pageSize: 250, pageToken });
      yield* page.calls;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  countCalls(options: CountOptions = {}): Promise<CallCounts[]> {
    return lookAs("count calls", () => countAll(this.link, this.service, options));
  }

  async showCall({ method, callId, owner = anyOwner }: CallReference): Promise<CallStory> {
    const binding = durableMethod(this.service, method);
    const call = nameCall(checkOwner(owner), callId);
    return await lookAs("see a call", () => readStory(this.link, binding, call));
  }

  async actOnCalls(
    act: BulkAct,
    filter: BulkFilter,
    options: BulkOptions = {},
  ): Promise<BulkProgress> {
    const { link, service } = this;
    const states = act === "cancel" ? openStates : (["failed"] as const);
    if (!["cancel", "replay", "discard"].includes(act) || Object(filter) !== filter) {
      const text = `there is no act "${act}" with this filter: cancel, replay or discard, and {} for all calls`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    const wanted = filter.states?.length ? filter.states : states;
    const selection = new Selection(service, { ...filter, states: wanted });
    const wrong = selection.states.find((state) => !states.includes(state as never));
    if (wrong) {
      throw new ConnectError(`${act} has no use for calls that are ${wrong}`, Code.InvalidArgument);
    }
    return await actAs(`${act} calls`, () =>
      actOnAll(link, service, selection, (placed) => this.actOn(act, placed), options),
    );
  }

  private async actOn(act: BulkAct, { method, call, sequence }: PlacedCall): Promise<boolean> {
    const { link, service } = this;
    if (act === "cancel") {
      const binding = durableMethod(service, method);
      return (await endCall(link, binding, call, "cancelled")) === undefined;
    }
    const letter = await until(link, () =>
      findDeadLetter(link, { service, deadSubject: `${service.prefix}.dead.${method}` }, call),
    );
    // One that came later is of an attempt after the list began.
    const its = letter?.sequence === sequence ? DeadLetter.read(link, service, letter) : undefined;
    if (act === "replay") {
      return (await its?.replay()) ?? false;
    }
    await its?.discard();
    return its !== undefined;
  }

  async pause(method: string, until = forEver): Promise<void> {
    if (!(Number(until) > Date.now())) {
      const text = `a pause ends later than now: ${String(until)} is no such time`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    const its = durableMethod(this.service, method);
    await actAs("pause a method", () => pauseMethod(this.link, its, new Date(until)));
  }

  async resume(method: string): Promise<void> {
    const its = durableMethod(this.service, method);
    await actAs("resume a method", () => pauseMethod(this.link, its, undefined));
  }

  async queues(): Promise<QueueInfo[]> {
    const { link, service } = this;
    const counts = await countWorkers(link, service);
    const infos: QueueInfo[] = [];
    for (const method of durableMethods(service)) {
      const { queued, running, isPulled, pausedUntil } = await countCalls(link, method);
      const { name } = method.desc;
      const workers = counts.get(name) ?? Number(isPulled);
      infos.push({ method: name, queued, running, workers, ...(pausedUntil && { pausedUntil }) });
    }
    return infos;
  }

  async buryStrays(): Promise<number> {
    const { stream, laterStream } = this.service;
    return (await this.buryStraysOf(stream)) + (await this.buryStraysOf(laterStream));
  }

  private async buryStraysOf(stream: string): Promise<number> {
    const { link, service } = this;
    const known = new Set([...service.methods.values()].map(({ desc }) => desc.name));
    let buried = 0;
    const failures = new PassedOver();
    for (let from = 1; ; ) {
      const request = await nextOf(link, service, stream, from);
      if (!request) {
        failures.tell();
        return buried;
      }
      from = request.sequence + 1;
      const method = request.methodNameOf(service);
      if (known.has(method) || request.withdrawn) {
        continue;
      }
      try {
        await this.bury(method, request);
        await deleteMessage(link, stream, request);
        buried++;
      } catch (error) {
        failures.add(error);
      }
    }
  }

  async sweepPayloads({ olderThanMs = 24 * 3_600_000 }: SweepOptions = {}): Promise<number> {
    return await sweepObjects(this.link, this.service, olderThanMs);
  }

  private async bury(method: string, request: StoredRequest): Promise<void> {
    const { link, service } = this;
    const text = `${service.desc.typeName} has no method ${method}`;
    const error = new ConnectError(text, Code.Unimplemented);
    // A server takes a message on any subject, and here it names what is written to.
    const name = /^\w+$/.test(method) ? method : "_";
    const gone = {
      service,
      desc: { name },
      deadSubject: `${service.prefix}.dead.${name}`,
      logSubject: `${service.prefix}.log.${name}`,
    };
    const call = request.callOf(service);
    // A client that waits for it has the schema that knows its method.
    await (call && name === method
      ? buryCall(link, gone, call, request, error)
      : buryStray(link, gone, request, error));
  }
}
