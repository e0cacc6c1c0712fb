import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Connection, internalsOf } from "../connection.js";
import { buryCall, buryStray, deleteMessage, nextDeadLetter } from "../ledger/dead-letters.js";
import { countCalls, nextOf, pauseMethod } from "../ledger/queues.js";
import { StoredRequest } from "../ledger/stored-request.js";
import { Interruptible } from "../link/interruptible.js";
import type { Link } from "../link/link.js";
import { until } from "../link/until.js";
import { countWorkers } from "../link/workers.js";
import { bindService, type MethodBinding, type ServiceBinding } from "../schema/binding.js";
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

/** The acts of an operator of a service. It needs an administrator's permissions on JetStream. */
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
    const { method = "*", owner = "*", callId } = filter;
    for (let from = 1; ; ) {
      const stored = await until(link, () =>
        nextDeadLetter(link, service, `${method}.${owner}.>`, from),
      );
      if (!stored) {
        return;
      }
      from = stored.sequence + 1;
      const letter = DeadLetter.read(link, service, StoredRequest.of(stored));
      if (letter && (callId === undefined || letter.callId === callId)) {
        yield letter;
      }
    }
  }

  async pause(method: string, until = forEver): Promise<void> {
    await pauseMethod(this.link, this.durableMethod(method), until);
  }

  async resume(method: string): Promise<void> {
    await pauseMethod(this.link, this.durableMethod(method), undefined);
  }

  async queues(): Promise<QueueInfo[]> {
    const { link, service } = this;
    const durable = [...service.methods.values()].filter((m) => m.delivery === "durable");
    const counts = await countWorkers(link, service);
    const infos: QueueInfo[] = [];
    for (const method of durable) {
      const { queued, running, isPulled, pausedUntil } = await countCalls(link, method);
      infos.push({
        method: method.desc.name,
        queued,
        running,
        workers: counts.get(method.desc.name) ?? Number(isPulled),
        ...(pausedUntil && { pausedUntil }),
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
    const call = request.callOf(service);
    // A client that waits for it has the schema that knows its method.
    await (call && name === method
      ? buryCall(link, gone, call, request, error)
      : buryStray(link, gone, request, error));
  }

  private durableMethod(name: string): MethodBinding {
    const { service } = this;
    const method = [...service.methods.values()].find(
      ({ desc }) => desc.name === name || desc.localName === name,
    );
    if (method?.delivery !== "durable") {
      throw new ConnectError(
        `${service.desc.typeName} has no durable method ${name}`,
        Code.InvalidArgument,
      );
    }
    return method;
  }
}
