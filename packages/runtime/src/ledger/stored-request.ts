import { type Msg, nanos } from "@nats-io/nats-core";
import { publishFenced } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { readDelivery, StoredMessage } from "../link/stored-message.js";
import {
  Header,
  HeaderBlock,
  putAgain,
  readAccepted,
  readDigest,
  readTimeoutMs,
  wholeNumber,
} from "../message/header.js";
import { readMetadata } from "../message/metadata.js";
import { defectOf } from "../message/readable.js";
import type { ServiceBinding } from "../schema/binding.js";
import { type CallName, parseCallSubject } from "../schema/call-id.js";
import { methodNameOf, queueSubjectOfDue } from "../schema/call-subjects.js";
import type { Outcome } from "./log.js";

/** How a call ends that is ended from outside. */
export type Withdrawal = Outcome & ("cancelled" | "expired");

/**
 * The request of a durable call as a stream keeps it: queued, for later, due, or as a dead
 * letter; or the message that took its place when it was withdrawn.
 */
export class StoredRequest extends StoredMessage {
  static of(stored: StoredMessage): StoredRequest;
  static of(stored: StoredMessage | undefined): StoredRequest | undefined;
  static of(stored: StoredMessage | undefined): StoredRequest | undefined {
    return (
      stored &&
      new StoredRequest(stored.message, stored.subject, stored.sequence, stored.storedAtMs)
    );
  }

  /** When the server accepted the call, in ms since 1970. */
  get acceptedAtMs(): number {
    return readAccepted(this.headers) ?? this.storedAtMs;
  }

  /** Tells two requests of one call id apart; undefined where the caller gave no id. */
  get digest(): string | undefined {
    return readDigest(this.headers);
  }

  /**
   * Time that its caller left for the call, in ms: 0 for no limit, undefined when it says
   * nothing. Throws InvalidArgument for what is no time.
   */
  get timeoutMs(): number | undefined {
    return readTimeoutMs(this.headers);
  }

  /** The same for those who only look: undefined for what is no time, too. */
  get knownTimeoutMs(): number | undefined {
    return wholeNumber(this.headers?.get(Header.timeout));
  }

  /** How the call ends, when the request was withdrawn. */
  get withdrawn(): Withdrawal | undefined {
    const how = this.headers?.get(Header.withdrawn);
    if (!how) {
      return undefined;
    }
    return how === "expired" ? how : "cancelled";
  }

  /** True when the log must be read before the first delivery runs: it may hold entries. */
  get isReplay(): boolean {
    return this.headers?.has(Header.replay) ?? false;
  }

  /** True when an attempt may have begun that left no entry. */
  get isPutAgain(): boolean {
    return this.headers?.get(Header.replay) === putAgain;
  }

  /** Sequence of the dead letter that it was. */
  get deadLetter(): number | undefined {
    return wholeNumber(this.headers?.get(Header.letter));
  }

  /** The part that the names of its objects have in common; undefined when it has none. */
  get objectBase(): string | undefined {
    return this.headers?.get(Header.objects)?.split(" ")[0] || undefined;
  }

  get hasObjects(): boolean {
    return this.headers?.has(Header.objects) ?? false;
  }

  /** True when an object holds the request itself. */
  get isObject(): boolean {
    return this.headers?.has(Header.payload) ?? false;
  }

  get contentType(): string {
    return this.headers?.get(Header.contentType) ?? "";
  }

  get metadata(): Headers {
    return readMetadata(this.headers, "request");
  }

  /** Why its headers cannot be read; undefined when they can. */
  get defect(): string | undefined {
    return defectOf(this.message);
  }

  /** The call that it is of; undefined where its subject names none. */
  callOf(service: ServiceBinding): CallName | undefined {
    return parseCallSubject(service, queueSubjectOfDue(service, this.subject));
  }

  /** Name of the method that its subject has. */
  methodNameOf(service: ServiceBinding): string {
    return methodNameOf(service, queueSubjectOfDue(service, this.subject));
  }

  /** The headers that belong to it wherever it lies. */
  copyHeaders(isWanted = isOfRequest): HeaderBlock {
    const headers = new HeaderBlock();
    for (const [name, values] of this.headers ?? []) {
      if (isWanted(name)) {
        for (const value of values) {
          headers.add(name, value);
        }
      }
    }
    return headers;
  }
}

/** A request that a consumer has handed out. */
export class DeliveredRequest extends StoredRequest {
  /** How often it was handed out, this time included. */
  readonly delivery: number;

  /** Throws DataLoss for a message that JetStream has not delivered. */
  constructor(
    private readonly link: Link,
    message: Msg,
  ) {
    const { deliveries, sequence, storedAtMs } = readDelivery(message);
    super(message, message.subject, sequence, storedAtMs);
    this.delivery = deliveries;
  }

  /** Tells the server that somebody is at work. */
  working(): void {
    this.answer("+WPI");
  }

  /** Removes it from its stream: its call has ended, or it lies elsewhere. */
  acknowledge(): void {
    this.answer("+ACK");
  }

  /** The same in no hurry: with the next write to the socket. */
  acknowledgeLate(): void {
    if (this.message.reply && this.link.connected) {
      this.link.publishLate(this.message.reply, "+ACK");
    }
  }

  /** Gives it back: it is handed out again after some time, in ms. Default: at once. */
  giveBack(delayMs?: number): void {
    this.answer(
      delayMs === undefined ? "-NAK" : `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`,
    );
  }

  /** Removes it from its stream: nobody can run it. */
  terminate(): void {
    this.answer("+TERM");
  }

  /** Lost while disconnected: then the server delivers again, and the log decides. */
  private answer(how: string): void {
    if (this.message.reply && this.link.connected) {
      this.link.publish(this.message.reply, how);
    }
  }
}

/** The headers of a request that stay with it, besides metadata. */
const kept: readonly string[] = [
  Header.timeout,
  Header.digest,
  Header.payload,
  Header.objects,
  Header.contentType,
].map((name) => name.toLowerCase());

/** True for a header that a request cannot do without. */
export function isKept(name: string): boolean {
  return kept.includes(name.toLowerCase());
}

/** True for a header that belongs to a request wherever it lies. */
export function isOfRequest(name: string): boolean {
  return isKept(name) || !/^(nats|jetrpc)-/i.test(name);
}

/**
 * Stores a request, or what takes its place, on a subject whose last message is the expected
 * one; 0 stands for an empty subject. Returns its sequence. Throws SequenceConflict when
 * another message is there, and what publishStored() throws.
 */
export function placeRequest(
  link: Link,
  subject: string,
  expected: number,
  payload: Uint8Array,
  headers: HeaderBlock,
): Promise<number> {
  return publishFenced(link, subject, expected, [{ payload, headers }]);
}
