import {
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  type Registry,
} from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Correction } from "../ledger/corrected-request.js";
import { attemptsOf, errorOf, readCause } from "../ledger/dead-letters.js";
import { discardCall, replayCall } from "../ledger/replay.js";
import type { StoredRequest } from "../ledger/stored-request.js";
import type { Link } from "../link/link.js";
import { until } from "../link/until.js";
import { decodeRequest, encode } from "../message/codec.js";
import { encodingOf } from "../message/encoding.js";
import { bindBlobs } from "../objects/incoming-blobs.js";
import { type MethodBinding, methodNamed, type ServiceBinding } from "../schema/binding.js";
import { blobsIn, holdsBlobs } from "../schema/blob-fields.js";
import type { CallName } from "../schema/call-id.js";
import { requestSpace } from "../schema/object-name.js";
import { typesOf } from "../schema/type-registry.js";
import { actAs } from "./act-as.js";
import { checkJson, type FieldProblem, foreignBlobs } from "./check-request.js";
import { errorJson, readJson } from "./json.js";

/** Options of `replay()`. */
export interface ReplayOptions {
  /** The request that takes the place of the old one, in protobuf's JSON mapping. */
  request?: JsonValue | undefined;
  /** Has what its fields of `Any` may hold. Default: the types of the service's file and of all that it imports. */
  registry?: Registry | undefined;
}

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
      error: errorJson(error),
      ...(cause !== undefined && { cause }),
      headers: Object.fromEntries(this.requestHeader),
      ...(await this.requestJson(registry)),
    };
  }

  /**
   * Each field of a request in JSON that the schema refuses; none when {@link replay} takes it.
   * Errors: see {@link request}, whose Blobs the new one may keep.
   */
  async check(
    json: JsonValue,
    registry: Registry = typesOf(this.service.desc),
  ): Promise<FieldProblem[]> {
    const { input } = this.knownMethod().desc;
    const problems = checkJson(input, json, registry);
    if (problems.length > 0 || !holdsBlobs(input)) {
      return problems;
    }
    return foreignBlobs(input, fromJson(input, json, { registry }), await this.request());
  }

  /**
   * Makes the call queue anew, with the same id: its log begins from nothing, its
   * attempts are counted from 1. Its followers saw it fail. Returns false when another one has
   * replayed or discarded it. With `request`, in JSON, the call has that one from now on: who
   * submits it again with the old one gets AlreadyExists.
   *
   * Errors: InvalidArgument, which names the fields, for a request that {@link check} refuses;
   * Unimplemented when the schema does not have its method,
   * ResourceExhausted when the queue is full, PermissionDenied, Unavailable.
   */
  async replay({ request, registry }: ReplayOptions = {}): Promise<boolean> {
    const method = this.knownMethod();
    const { link, call, stored } = this;
    const correction = request === undefined ? undefined : await this.correct(request, registry);
    return await actAs("replay a dead letter", () =>
      until(link, () => replayCall(link, method, call, stored, correction)),
    );
  }

  /** Removes it, and what its request left in the object store. */
  async discard(): Promise<void> {
    const { link, service, binding, method, call, stored } = this;
    await actAs("discard a dead letter", () =>
      discardCall(link, service, binding, method, call, stored),
    );
  }

  /** The beginning of the names of the request's objects. */
  private get space(): string {
    return requestSpace({ desc: { name: this.method } }, this.call);
  }

  private async correct(
    json: JsonValue,
    registry = typesOf(this.service.desc),
  ): Promise<Correction> {
    const problems = await this.check(json, registry);
    if (problems.length > 0) {
      const texts = problems.map(({ path, problem }) => (path ? `${path}: ${problem}` : problem));
      const text = `the request of call "${this.callId}" is not replayed: ${texts.join("; ")}`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    const { input } = this.knownMethod().desc;
    const message = fromJson(input, json, { registry });
    const bytes = encode(input, message, Code.InvalidArgument);
    for (const blob of blobsIn(input, message)) {
      blob.object = "";
    }
    return { bytes, nameless: encode(input, message, Code.InvalidArgument) };
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

  private requestJson(registry: Registry): Promise<JsonObject> {
    const schema = this.binding?.desc.input ?? EmptySchema;
    return readJson(
      "request",
      schema,
      registry,
      () => this.requestBytes(),
      () => this.request(),
    );
  }
}
