import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { acceptedAt, lastOfAny, storedAt } from "../ledger/call-search.js";
import { copyRequestHeaders } from "../ledger/dead-letter.js";
import { getNext, neverFits, publishStored, SequenceConflict } from "../link/jetstream.js";
import { consumerInfo } from "../link/jetstream-admin.js";
import type { Link } from "../link/link.js";
import { Header, putAgain } from "../message/header.js";
import { type MethodBinding, methodNamed, type ServiceBinding } from "../schema/binding.js";
import { parseCallSubject } from "../schema/call-id.js";
import { type ConsumerSettings, describeInfrastructure } from "../schema/infrastructure.js";
import type { Logger } from "./log.js";

/** How often it looks, in ms. */
const intervalMs = 20_000;

/** The same while more is forgotten than it puts in again in one round, in ms. */
const busyMs = 1_000;

/** Messages of one kind that it looks at in one round: a bound on its cost. */
const roundLimit = 500;

/**
 * The same above the acknowledged floor of a consumer, where each costs a look at its
 * log, too. Most of these calls run.
 */
const aboveLimit = 50;

/** How late a call may start before its schedule counts as forgotten, in ms. */
const overdueMs = 10_000;

/** For how long a call has ended whose request should be gone, in ms. */
const endedMs = 10_000;

/** Looks for what is forgotten in one place, and tells whether there is more of it. */
type Sweep = () => Promise<boolean>;

/**
 * Puts in again what a server has forgotten to hand out, so that no accepted call
 * waits for ever (docs/decisions/0011):
 *
 * - A server that was killed may bring back a request whose consumer counts it as
 *   acknowledged, queued or due. Whoever gets it again reads in the log whether its call
 *   has ended.
 * - A server whose store was full when a call was due drops the call's schedule.
 */
export class Housekeeper {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stopListening: (() => void) | undefined;
  private round: Promise<void> | undefined;
  private isStopping = false;
  /** Where the next round goes on among the calls that are to start later. */
  private cursor = 1;
  /** The floor that each consumer had, and where the next round goes on above it. */
  private readonly floors = new Map<string, { floor: number; next: number }>();
  private readonly sweeps: Set<Sweep>;

  constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    methods: readonly MethodBinding[],
    private readonly log: Logger,
  ) {
    const handed = describeInfrastructure(service).consumers.filter(({ method }) =>
      methods.includes(method),
    );
    this.sweeps = new Set([
      ...handed.map(
        ({ stream, config }) =>
          () =>
            this.sweepConsumer(stream, config),
      ),
      () => this.sweepLater(),
    ]);
  }

  start(): void {
    // A server that crashed is one whose connections were lost.
    this.stopListening = this.link.onReconnect(() => this.schedule(Math.random() * 5_000));
    this.schedule(intervalMs * Math.random());
  }

  stop(): void {
    this.isStopping = true;
    clearTimeout(this.timer);
    this.stopListening?.();
  }

  /** Waits for the round under way. */
  async idle(): Promise<void> {
    await this.round;
  }

  private schedule(ms: number): void {
    clearTimeout(this.timer);
    if (!this.isStopping) {
      this.timer = setTimeout(() => {
        this.round = this.run();
      }, ms);
    }
  }

  private async run(): Promise<void> {
    let hasMore = false;
    for (const sweep of this.sweeps) {
      try {
        hasMore = (await this.unlessDenied(sweep)) || hasMore;
      } catch (error) {
        // The next round will do; a server that does not answer has other troubles.
        this.log({ level: "debug", message: "housekeeping failed", error });
      }
    }
    if (this.sweeps.size > 0) {
      this.schedule(hasMore ? busyMs : intervalMs * (0.75 + Math.random() / 2));
    }
  }

  /** What may not be read is left to workers of all methods: docs/security.md. */
  private async unlessDenied(sweep: Sweep): Promise<boolean> {
    try {
      return await sweep();
    } catch (error) {
      if (ConnectError.from(error).code !== Code.PermissionDenied) {
        throw error;
      }
      this.sweeps.delete(sweep);
      return false;
    }
  }

  /** Whatever a consumer hands out and counts as acknowledged, and is still there. */
  private async sweepConsumer(stream: string, { name, filter_subject = "" }: ConsumerSettings) {
    const { link } = this;
    const info = await consumerInfo(link, stream, name);
    const floor = info?.ack_floor.stream_seq ?? 0;
    let from = 1;
    for (let count = 0; count < roundLimit && !this.isStopping; count++) {
      const request = await getNext(link, stream, filter_subject, from);
      const sequence = sequenceOf(request);
      if (!request || sequence > floor) {
        const delivered = info?.delivered.stream_seq ?? 0;
        if (delivered > floor) {
          await this.sweepAbove(stream, filter_subject, floor, delivered);
        }
        return false;
      }
      await this.putAgain(request, sequence);
      from = sequence + 1;
    }
    return true;
  }

  /**
   * A call that takes days keeps the floor low. What lies above it may be acknowledged as
   * well, and only the server knows: but a call that has ended runs nowhere.
   */
  private async sweepAbove(stream: string, subject: string, floor: number, delivered: number) {
    const last = this.floors.get(subject);
    let next = last?.floor === floor ? Math.max(last.next, floor + 1) : 0;
    for (let count = 0; next > 0 && count < aboveLimit && !this.isStopping; count++) {
      const request = await getNext(this.link, stream, subject, next);
      const sequence = sequenceOf(request);
      next = request && sequence <= delivered ? sequence + 1 : 0;
      if (request && next > 0 && (await this.hasLongEnded(request))) {
        await this.putAgain(request, sequence);
      }
    }
    this.floors.set(subject, { floor, next });
  }

  private async hasLongEnded(request: Msg): Promise<boolean> {
    const { link, service } = this;
    const stored = request.headers?.get(Header.subject) ?? "";
    const call = parseCallSubject(service, stored);
    const [, name = ""] = stored.slice(service.prefix.length + 1).split(".");
    const method = methodNamed(service, name);
    if (!call || !method || Date.now() - storedAt(request) < endedMs) {
      return false;
    }
    const last = await lastOfAny(link, method, call);
    return (
      last.kind === "end" &&
      last.message !== undefined &&
      Date.now() - storedAt(last.message) > endedMs
    );
  }

  /** What a schedule should have made due, some time ago. */
  private async sweepLater(): Promise<boolean> {
    const { link, service } = this;
    for (let count = 0; count < roundLimit && !this.isStopping; count++) {
      const subject = `${service.prefix}.later.>`;
      const request = await getNext(link, service.laterStream, subject, this.cursor);
      if (!request) {
        this.cursor = 1;
        return false;
      }
      this.cursor = sequenceOf(request) + 1;
      const at = Date.parse(request.headers?.get(Header.schedule).slice("@at ".length) ?? "");
      if (Date.now() > at + overdueMs) {
        await this.putAgain(request, sequenceOf(request));
      }
    }
    // Most of these are only waiting for their time: the next ones are in no hurry.
    return false;
  }

  /** Stores a request in its own place, unless that has changed. */
  private async putAgain(request: Msg, sequence: number): Promise<void> {
    const subject = request.headers?.get(Header.subject) ?? "";
    const headers = copyRequestHeaders(request)
      .add(Header.replay, putAgain)
      .add(Header.accepted, acceptedAt(request));
    const scheduler = request.headers?.get(Header.scheduler);
    const place = scheduler || subject;
    if (scheduler) {
      // The server alone may say whose schedule it was: it makes the request due once more.
      headers
        .add(Header.expectedLastSubjectSequence, 0)
        .add(Header.schedule, `@at ${new Date(0).toISOString()}`)
        .add(Header.scheduleTarget, subject);
    } else {
      headers.add(Header.expectedLastSubjectSequence, sequence);
      for (const name of [Header.withdrawn, Header.schedule, Header.scheduleTarget]) {
        const value = request.headers?.get(name);
        if (value) {
          headers.add(name, value);
        }
      }
    }
    try {
      await publishStored(this.link, place, request.data, headers);
      const callId = parseCallSubject(this.service, place)?.callId;
      const message = "a forgotten request was put in again";
      this.log({ level: "warn", message, ...(callId && { callId }) });
    } catch (error) {
      if (neverFits(error)) {
        // One that stays keeps no other from being put in again.
        const message = "a forgotten request cannot be put in again: purge its subject";
        this.log({ level: "error", message, error });
      } else if (!(error instanceof SequenceConflict)) {
        throw error;
      }
    }
  }
}

function sequenceOf(message: Msg | undefined): number {
  return Number(message?.headers?.get(Header.sequence) ?? 0);
}
