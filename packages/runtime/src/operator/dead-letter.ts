import {
  type DescMessage,
  type JsonObject,
  type Message,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { attemptsOf, errorOf, readCause } from "../ledger/dead-letters.js";
import { discardCall, replayCall } from "../ledger/replay.js";
import type { StoredRequest } from "../ledger/stored-request.js";
import type { Link } from "../link/link.js";
import { until } from "../link/until.js";
import { decodeRequest } from "../message/codec.js";
import { encodingOf } from "../message/encoding.js";
import { bindBlobs } from "../objects/blob.js";
import { type MethodBinding, methodNamed, type ServiceBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { codeName } from "../schema/code-name.js";
import { requestSpace } from "../schema/object-name.js";
import { typesOf } from "../schema/type-registry.js";

/** A call that failed for good. */
export class DeadLetter {
  private constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    private readonly stored: StoredRequest,
    private readonly call: CallName,
    /** Name of the method as the schema has it, or had it. */
    readonly method: string,
    private readonly binding: MethodBinding | undefined,
  ) {}

  /** @internal */
  static read(link: Link, service: ServiceBinding, stored: StoredRequest): DeadLetter | undefined {
    const method = stored.methodNameOf(service);
    const binding = methodNamed(service, method);
    const call = stored.callOf(service);
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
   * The text of the error of the handler, with its stack, where that was no ConnectError: the caller was
   * told "internal error". Undefined for any other error.
   */
  async cause(): Promise<string | undefined> {
    const { link, binding, call } = this;
    // Of a method that the schema lacks, the credentials may not allow it.
    const stored = binding && (await readCause(link, binding, call));
    return stored && new TextDecoder().decode(stored.data);
  }

  /** How many attempts were made. */
  get attempts(): number {
    return attemptsOf(this.stored);
  }

  get failedAt(): Date {
    return new Date(this.stored.storedAtMs);
  }

  /** Metadata of the request. */
  get requestHeader(): Headers {
    return this.stored.metadata;
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
    const message = decodeRequest(desc, bytes, encodingOf(this.stored.contentType));
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
      error: { code: codeName(error.code), message: error.rawMessage },
      ...(cause !== undefined && { cause }),
      headers: Object.fromEntries(this.requestHeader),
      ...(await this.requestJson(registry)),
    };
  }

  /**
   * Makes the call queue anew, with the same id: its log begins from nothing, its
   * attempts are counted from 1. Its followers saw it fail.
   *
   * Errors: Unimplemented when the schema does not have its method,
   * ResourceExhausted when the queue is full, Unavailable.
   */
  async replay(): Promise<void> {
    const method = this.knownMethod();
    const { link, call, stored } = this;
    await until(link, () => replayCall(link, method, call, stored));
  }

  /** Removes it, and what its request left in the object store. */
  async discard(): Promise<void> {
    const { link, service, binding, method, call, stored } = this;
    await discardCall(link, service, binding, method, call, stored);
  }

  /** The beginning of the names of the request's objects. */
  private get space(): string {
    return requestSpace({ desc: { name: this.method } }, this.call);
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
