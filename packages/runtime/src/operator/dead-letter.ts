import {
  type DescMessage,
  type JsonObject,
  type Message,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { entrySubject, progressSubject } from "../ledger/call-log.js";
import { lastEntry } from "../ledger/call-search.js";
import { causeSubject, copyRequestHeaders, errorOf } from "../ledger/dead-letter.js";
import { callApi, getLast, getNext, publishStored, untilAnswered } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { decodeRequest, encodingOf } from "../message/codec.js";
import { Header, readMetadata, wholeNumber } from "../message/header.js";
import { bindBlobs } from "../objects/blob.js";
import { objectsOf, releaseObjects, removeObjects } from "../objects/payload-store.js";
import { type MethodBinding, methodNamed, type ServiceBinding } from "../schema/binding.js";
import { type CallName, parseCallSubject } from "../schema/call-id.js";
import { requestSpace } from "../schema/object-name.js";
import { typesOf } from "../schema/type-registry.js";

/** A call that failed for good. */
export class DeadLetter {
  private constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    private readonly stored: Msg,
    private readonly call: CallName,
    /** Name of the method as the schema has it, or had it. */
    readonly method: string,
    private readonly binding: MethodBinding | undefined,
  ) {}

  /** @internal */
  static read(link: Link, service: ServiceBinding, stored: Msg): DeadLetter | undefined {
    const subject = stored.headers?.get(Header.subject) ?? "";
    const [, method = ""] = subject.slice(service.prefix.length + 1).split(".");
    const binding = methodNamed(service, method);
    const call = parseCallSubject(service, subject);
    return call && new DeadLetter(link, service, stored, call, method, binding);
  }

  get owner(): string {
    return this.call.owner;
  }

  get callId(): string {
    return this.call.callId;
  }

  /** Why the call failed. */
  get error(): ConnectError {
    return errorOf(this.stored);
  }

  /**
   * What the handler threw, with its stack, where that was no ConnectError: the caller was
   * told "internal error". Undefined for any other error.
   */
  async cause(): Promise<string | undefined> {
    const stored = await this.findCause();
    return stored && new TextDecoder().decode(stored.data);
  }

  /** How many attempts were made. */
  get attempts(): number {
    return wholeNumber(this.stored.headers?.get(Header.attempts)) ?? 0;
  }

  get failedAt(): Date {
    return new Date(this.stored.headers?.get(Header.timestamp) ?? 0);
  }

  /** Metadata of the request. */
  get requestHeader(): Headers {
    return readMetadata(this.stored.headers, "request");
  }

  /** The request as it was sent. */
  async requestBytes(): Promise<Uint8Array> {
    // A copy: the message is a part of what was read from the socket.
    return new Uint8Array(await this.link.payloads.load(this.service, this.stored, this.space));
  }

  /**
   * The request, decoded. Throws InvalidArgument when it cannot be decoded,
   * Unimplemented when the schema does not have its method.
   */
  async request(): Promise<Message> {
    const { desc } = this.knownMethod();
    const bytes = await this.requestBytes();
    const type = this.stored.headers?.get(Header.contentType) ?? "";
    const message = decodeRequest(desc, bytes, encodingOf(type));
    bindBlobs(this.link, this.service, this.space, desc.input, message);
    return message;
  }

  /**
   * All of it, for a person or a program to read: a request that cannot be decoded in base64.
   * `registry` has what fields of `Any` may hold. Default: the types of the service's file
   * and of all that it imports.
   */
  async toJson(registry: Registry = typesOf(this.service.desc)): Promise<JsonObject> {
    const { error, method, callId, owner, attempts, failedAt } = this;
    const cause = await this.cause();
    return {
      method,
      callId,
      owner,
      attempts,
      failedAt: failedAt.toISOString(),
      error: { code: Code[error.code] as string, message: error.rawMessage },
      ...(cause !== undefined && { cause }),
      headers: Object.fromEntries(this.requestHeader),
      ...(await this.requestJson(registry)),
    };
  }

  /**
   * Makes the call queue anew, with the same id: its log begins from nothing, its
   * attempts are counted from 1. Whoever followed it saw it fail.
   *
   * Errors: Unimplemented when the schema does not have its method,
   * ResourceExhausted when the queue is full, Unavailable.
   */
  async replay(): Promise<void> {
    const method = this.knownMethod();
    await untilAnswered(this.link, () => this.tryToReplay(method));
  }

  /** Removes it, and what its request left in the object store. */
  async discard(): Promise<void> {
    await this.remove();
    const objects = objectsOf(this.stored, this.space);
    if (objects) {
      removeObjects(this.link, this.service, objects);
    }
  }

  private get sequence(): number {
    return Number(this.stored.headers?.get(Header.sequence));
  }

  private async tryToReplay(method: MethodBinding): Promise<void> {
    const { link, service, call, sequence } = this;
    const subject = `${method.deadSubject}.${call.suffix}`;
    const found = await getNext(link, service.deadStream, subject, sequence);
    if (Number(found?.headers?.get(Header.sequence)) !== sequence) {
      // It is replayed, or discarded.
      return;
    }
    const queued = await this.findQueued(method);
    const last = await lastEntry(link, method, call);
    if (!queued && (!last || last.outcome === "failed")) {
      if (last) {
        await this.forget(method, last.sequence);
      }
      await this.queueAnew(method);
    }
    // Otherwise it runs since a replay that was cut short, or has run.
    await this.remove();
    // Its worker keeps what a dead letter has: it may have ended before that was gone.
    if ((await lastEntry(link, method, call))?.kind === "end") {
      await releaseObjects(link, method, call, this.stored);
    }
  }

  /** Removes the log of the call up to its end. */
  private async forget(method: MethodBinding, end: number): Promise<void> {
    const { link, service, call } = this;
    const purge = (stream: string, what: object) => callApi(link, `STREAM.PURGE.${stream}`, what);
    await purge(service.progressStream, { filter: progressSubject(method, call) });
    await purge(service.logStream, { filter: entrySubject(method, call), seq: end + 1 });
  }

  private async queueAnew(method: MethodBinding): Promise<void> {
    const { link, stored, call, sequence } = this;
    const headers = copyRequestHeaders(stored)
      .add(Header.replay, 1)
      .add(Header.letter, sequence)
      .add(Header.expectedLastSubjectSequence, 0);
    const subject = `${method.queueSubject}.${call.suffix}`;
    await publishStored(link, subject, stored.data, headers);
  }

  /**
   * The request, when a replay that was cut short has queued it. Throws Unavailable
   * while the one that failed is there yet: its worker is about to acknowledge it.
   */
  private async findQueued(method: MethodBinding): Promise<Msg | undefined> {
    const { link, service, call, sequence } = this;
    for (const { subject } of method.queues) {
      const request = await getLast(link, service.stream, `${subject}.${call.suffix}`);
      if (request && request.headers?.get(Header.letter) !== `${sequence}`) {
        throw new ConnectError(
          `call "${call.callId}" is still in its queue: it has failed just now, or its worker was lost when it had`,
          Code.Unavailable,
        );
      }
      if (request) {
        return request;
      }
    }
    return undefined;
  }

  /** What the names of the request's objects begin with. */
  private get space(): string {
    return requestSpace({ desc: { name: this.method } }, this.call);
  }

  private async remove(): Promise<void> {
    const { link, service, sequence } = this;
    const remove = (seq: number) =>
      callApi(link, `STREAM.MSG.DELETE.${service.deadStream}`, { seq, no_erase: true });
    const cause = await this.findCause();
    if (cause) {
      await remove(Number(cause.headers?.get(Header.sequence)));
    }
    await remove(sequence);
  }

  private async findCause(): Promise<Msg | undefined> {
    const { link, service, binding, call } = this;
    // Of a method that the schema lacks, the credentials may not allow it.
    return binding && (await getLast(link, service.deadStream, causeSubject(binding, call.suffix)));
  }

  private knownMethod(): MethodBinding {
    if (!this.binding) {
      throw new ConnectError(
        `${this.service.desc.typeName} has no method ${this.method}: use the schema that the call was made with`,
        Code.Unimplemented,
      );
    }
    return this.binding;
  }

  private async requestJson(registry: Registry): Promise<JsonObject> {
    try {
      const schema: DescMessage = this.knownMethod().desc.input;
      return { request: toJson(schema, await this.request(), { registry }) };
    } catch (error) {
      const bytes = await this.requestBytes().catch(() => new Uint8Array(0));
      return {
        requestBase64: base64Encode(bytes),
        requestError: ConnectError.from(error).rawMessage,
      };
    }
  }
}
