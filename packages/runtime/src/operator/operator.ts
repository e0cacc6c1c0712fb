import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Msg, nuid } from "@nats-io/nats-core";
import { countWorkers } from "../client/workers.js";
import { type Connection, internals } from "../connection.js";
import { buryCall } from "../ledger/bury-call.js";
import { acceptedAt, queueOfDue } from "../ledger/call-search.js";
import { storeDeadLetter } from "../ledger/dead-letter.js";
import { Interruptible } from "../link/interruptible.js";
import { callApi, getNext, untilAnswered } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { Header } from "../message/header.js";
import { bindService, type ServiceBinding } from "../schema/binding.js";
import { anyOwner, parseCallSubject } from "../schema/call-id.js";
import { DeadLetter } from "./dead-letter.js";
import { PassedOver } from "./passed-over.js";
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

/** What operators of a service do. It needs an administrator's permissions on JetStream. */
export interface Operator {
  /** Calls that failed for good, the oldest first. */
  deadLetters(filter?: DeadLetterFilter): AsyncIterable<DeadLetter>;
  /**
   * Lets workers take no further calls of a method; calls are accepted, and what
   * runs ends. Default: until `resume()`.
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
  /** What is younger stays: it may be of an upload under way. In ms; default: 1 day. */
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
  const { link } = connection[internals];
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
    const { method = "*", owner = "*", callId } = filter;
    const subject = `${service.prefix}.dead.${method}.${owner}.>`;
    for (let from = 1; ; ) {
      const stored = await untilAnswered(link, () =>
        getNext(link, service.deadStream, subject, from),
      );
      if (!stored) {
        return;
      }
      from = Number(stored.headers?.get(Header.sequence)) + 1;
      const letter = DeadLetter.read(link, service, stored);
      if (letter && (callId === undefined || letter.callId === callId)) {
        yield letter;
      }
    }
  }

  async pause(method: string, until = forEver): Promise<void> {
    await this.setPause(method, { pause_until: until.toISOString() });
  }

  async resume(method: string): Promise<void> {
    await this.setPause(method, {});
  }

  async queues(): Promise<QueueInfo[]> {
    const { link, service } = this;
    const durable = [...service.methods.values()].filter((m) => m.delivery === "durable");
    const counts = await countWorkers(link, service);
    const infos: QueueInfo[] = [];
    for (const method of durable) {
      const lanes = await Promise.all(
        method.queues.map(({ consumer }) =>
          callApi<ConsumerInfo>(link, `CONSUMER.INFO.${service.stream}.${consumer}`, {}),
        ),
      );
      const isPulled = lanes.some((lane) => lane && lane.num_waiting > 0);
      const until = lanes.find((lane) => lane?.paused)?.config.pause_until;
      infos.push({
        method: method.desc.name,
        queued: lanes.reduce((sum, lane) => sum + (lane?.num_pending ?? 0), 0),
        running: lanes.reduce((sum, lane) => sum + (lane?.num_ack_pending ?? 0), 0),
        workers: counts.get(method.desc.name) ?? Number(isPulled),
        ...(until && { pausedUntil: new Date(until) }),
      });
    }
    return infos;
  }

  async buryStrays(): Promise<number> {
    const { stream, laterStream } = this.service;
    return (await this.buryStraysOf(stream)) + (await this.buryStraysOf(laterStream));
  }

  private async buryStraysOf(stream: string): Promise<number> {
    const { link, service } = this;
    const { prefix } = service;
    const known = new Set([...service.methods.values()].map(({ desc }) => desc.name));
    let buried = 0;
    const failures = new PassedOver();
    for (let from = 1; ; ) {
      const request = await getNext(link, stream, `${prefix}.>`, from);
      if (!request) {
        failures.tell();
        return buried;
      }
      const seq = Number(request.headers?.get(Header.sequence));
      from = seq + 1;
      const stored = request.headers?.get(Header.subject) ?? "";
      const subject = stored.startsWith(`${prefix}.due.`) ? queueOfDue(prefix, stored) : stored;
      const [, method = ""] = subject.slice(prefix.length + 1).split(".");
      if (known.has(method) || request.headers?.has(Header.withdrawn)) {
        continue;
      }
      try {
        await this.bury(method, subject, request);
        await callApi(link, `STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true });
        buried++;
      } catch (error) {
        failures.add(error);
      }
    }
  }

  async sweepPayloads({ olderThanMs = 24 * 3_600_000 }: SweepOptions = {}): Promise<number> {
    return await sweepObjects(this.link, this.service, olderThanMs);
  }

  private async bury(method: string, subject: string, request: Msg): Promise<void> {
    const { link, service } = this;
    const error = new ConnectError(
      `${service.desc.typeName} has no method ${method}`,
      Code.Unimplemented,
    );
    const { prefix } = service;
    // A server takes a message on any subject, and here it names what is written to.
    const name = /^\w+$/.test(method) ? method : "_";
    const gone = {
      service,
      desc: { name },
      deadSubject: `${prefix}.dead.${name}`,
      logSubject: `${prefix}.log.${name}`,
    };
    const call = parseCallSubject(service, subject);
    if (call && name === method) {
      // Whoever waits for it has the schema that knows its method.
      await buryCall(link, gone, call, request, error);
    } else {
      const suffix = `${anyOwner}.stray.${nuid.next()}`;
      await storeDeadLetter(link, gone, suffix, request, error, 0, acceptedAt(request));
    }
  }

  private async setPause(name: string, pause: { pause_until?: string }): Promise<void> {
    const { link, service } = this;
    const method = [...service.methods.values()].find(
      ({ desc }) => desc.name === name || desc.localName === name,
    );
    if (method?.delivery !== "durable") {
      throw new ConnectError(
        `${service.desc.typeName} has no durable method ${name}`,
        Code.InvalidArgument,
      );
    }
    for (const { consumer } of method.queues) {
      const done = await callApi(link, `CONSUMER.PAUSE.${service.stream}.${consumer}`, pause);
      if (!done) {
        throw new ConnectError(
          `consumer ${consumer} of stream ${service.stream} does not exist: start a worker, or run \`jetrpc apply\`, first`,
          Code.NotFound,
        );
      }
    }
  }
}

interface ConsumerInfo {
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_waiting: number;
  readonly paused?: boolean;
  readonly config: { readonly pause_until?: string };
}
