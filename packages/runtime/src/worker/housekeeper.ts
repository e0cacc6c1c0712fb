import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { MethodBinding, Queue, ServiceBinding } from "../wire/binding.js";
import { parseCallSubject } from "../wire/call-id.js";
import { acceptedAt } from "../wire/call-search.js";
import { copyRequestHeaders } from "../wire/dead-letter.js";
import { Header, putAgain } from "../wire/header.js";
import { callApi, getNext, publishStored, SequenceConflict } from "../wire/jetstream.js";
import type { Link } from "../wire/link.js";
import type { Logger } from "./log.js";

/** How often it looks, in ms. */
const intervalMs = 20_000;

/** Messages of one kind that it looks at in one round: a bound on its cost. */
const roundLimit = 500;

/** How late a call may start before its schedule counts as forgotten, in ms. */
const overdueMs = 10_000;

/**
 * Puts in again what a server has forgotten to hand out, so that no accepted call
 * waits for ever (docs/decisions/0011):
 *
 * - A server that was killed may bring back a request whose consumer counts it as
 *   acknowledged. Whoever gets it again reads in the log whether its call has ended.
 * - A server whose store was full when a call was due drops the call's schedule.
 */
export class Housekeeper {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stopListening: (() => void) | undefined;
  private round: Promise<void> | undefined;
  private isStopping = false;
  /** Where the next round goes on among the calls that are to start later. */
  private cursor = 1;

  constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    private readonly methods: readonly MethodBinding[],
    private readonly log: Logger,
  ) {}

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
    try {
      for (const method of this.methods) {
        for (const queue of method.queues) {
          await this.sweepQueue(queue);
        }
      }
      await this.sweepLater();
    } catch (error) {
      if (ConnectError.from(error).code === Code.PermissionDenied) {
        // It is for workers of all methods: docs/security.md.
        return;
      }
      // The next round will do; a server that does not answer has other troubles.
      this.log({ level: "debug", message: "housekeeping failed", error });
    }
    this.schedule(intervalMs * (0.75 + Math.random() / 2));
  }

  private async sweepQueue({ subject, consumer }: Queue): Promise<void> {
    const { link, service } = this;
    const info = await callApi<{ ack_floor: { stream_seq: number } }>(
      link,
      `CONSUMER.INFO.${service.stream}.${consumer}`,
      {},
    );
    const floor = info?.ack_floor.stream_seq ?? 0;
    for (let from = 1, count = 0; count < roundLimit && !this.isStopping; count++) {
      const request = await getNext(link, service.stream, `${subject}.>`, from);
      const sequence = sequenceOf(request);
      if (!request || sequence > floor) {
        return;
      }
      await this.putAgain(request, sequence);
      from = sequence + 1;
    }
  }

  private async sweepLater(): Promise<void> {
    const { link, service } = this;
    for (let count = 0; count < roundLimit && !this.isStopping; count++) {
      const subject = `${service.prefix}.later.>`;
      const request = await getNext(link, service.laterStream, subject, this.cursor);
      if (!request) {
        this.cursor = 1;
        return;
      }
      this.cursor = sequenceOf(request) + 1;
      const at = Date.parse(request.headers?.get(Header.schedule).slice("@at ".length) ?? "");
      if (Date.now() > at + overdueMs) {
        await this.putAgain(request, sequenceOf(request));
      }
    }
  }

  /** Stores a request in its own place, unless that has changed. */
  private async putAgain(request: Msg, sequence: number): Promise<void> {
    const subject = request.headers?.get(Header.subject) ?? "";
    const headers = copyRequestHeaders(request)
      .add(Header.replay, putAgain)
      .add(Header.accepted, acceptedAt(request))
      .add(Header.expectedLastSubjectSequence, sequence);
    for (const name of [Header.withdrawn, Header.schedule, Header.scheduleTarget]) {
      const value = request.headers?.get(name);
      if (value) {
        headers.add(name, value);
      }
    }
    try {
      await publishStored(this.link, subject, request.data, headers);
      const callId = parseCallSubject(this.service, subject)?.callId;
      const message = "a forgotten request was put in again";
      this.log({ level: "warn", message, ...(callId && { callId }) });
    } catch (error) {
      if (!(error instanceof SequenceConflict)) {
        throw error;
      }
    }
  }
}

function sequenceOf(message: Msg | undefined): number {
  return Number(message?.headers?.get(Header.sequence) ?? 0);
}
