import {
  type DescMessage,
  type JsonObject,
  type Message,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Blob } from "../gen/jetrpc/v1/blob_pb.js";
import { type Progress, ProgressSchema } from "../gen/jetrpc/v1/call_pb.js";
import { findDeadLetter } from "../ledger/dead-letters.js";
import { endCall } from "../ledger/ending.js";
import { deadlineOf, type FoundCall, findKnownCall, notFound } from "../ledger/found-call.js";
import { type KnownCall, readKnown } from "../ledger/known-call.js";
import { dueAtMs } from "../ledger/later.js";
import { type Entry, readLog } from "../ledger/log.js";
import type { AttemptStatus, CallStateName } from "../ledger/status-fold.js";
import type { StoredRequest } from "../ledger/stored-request.js";
import { Interruptible } from "../link/interruptible.js";
import type { Link } from "../link/link.js";
import { decode, decodeRequest } from "../message/codec.js";
import { encodingOf } from "../message/encoding.js";
import { toDate } from "../message/header.js";
import { decodeStatus, isStatus } from "../message/status.js";
import { bindBlobs } from "../objects/incoming-blobs.js";
import type { MethodBinding } from "../schema/binding.js";
import { blobsIn, holdsBlobs } from "../schema/blob-fields.js";
import type { CallName } from "../schema/call-id.js";
import { entrySubjectOf } from "../schema/call-subjects.js";
import { requestSpace, responseSpace } from "../schema/object-name.js";
import { typesOf } from "../schema/type-registry.js";
import { actAs } from "./act-as.js";
import type { CallBlob, CallStory, ResponseRange } from "./call-story.js";
import { DeadLetter } from "./dead-letter.js";
import { errorJson, readJson, timesJson } from "./json.js";

/** Messages of a response that `toJson()` has. */
const jsonMessages = 100;

/** Reads the story of a call. Throws NotFound. */
export async function readStory(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<CallStory> {
  const [found, letter] = await Promise.all([
    findKnownCall(link, method, call),
    findDeadLetter(link, method, call),
  ]);
  if (!found && !letter) {
    throw notFound(method, call);
  }
  const known = await readKnown(link, method, call, found);
  return new Story(link, method, call, found, letter, known);
}

function readEntries(
  link: Link,
  method: MethodBinding,
  call: CallName,
  range: { from: number; headersOnly: boolean },
): AsyncGenerator<Entry> {
  return readLog(link, method.service, { subject: entrySubjectOf(method, call), ...range });
}

class Story implements CallStory {
  readonly deadLetter: DeadLetter | undefined;
  readonly progress: Progress | undefined;
  readonly workers: number | undefined;
  private readonly stored: StoredRequest | undefined;

  constructor(
    private readonly link: Link,
    private readonly binding: MethodBinding,
    private readonly call: CallName,
    private readonly found: FoundCall | undefined,
    letter: StoredRequest | undefined,
    private readonly told: KnownCall,
  ) {
    this.deadLetter = letter && DeadLetter.read(link, binding.service, letter);
    this.progress = told.progress;
    this.workers = told.workers;
    // What took the place of a request for a moment has nothing in it.
    const hasEnded = found?.last?.kind === "end";
    this.stored = letter ?? (hasEnded ? undefined : found?.request);
  }

  get method(): string {
    return this.binding.desc.name;
  }

  get owner(): string {
    return this.call.owner;
  }

  get callId(): string {
    return this.call.callId;
  }

  get state(): CallStateName {
    const { found, told } = this;
    return (
      told.fold.state ??
      (found
        ? (found.request?.withdrawn ?? (found.isScheduled ? "scheduled" : "queued"))
        : "failed")
    );
  }

  get acceptedAt(): Date | undefined {
    const ms = this.told.fold.acceptedAt ?? this.stored?.acceptedAtMs;
    return ms === undefined ? undefined : toDate(ms);
  }

  get endedAt(): Date | undefined {
    return this.told.fold.endedAt ?? this.deadLetter?.failedAt;
  }

  get startsAt(): Date | undefined {
    const at = this.found?.isScheduled && this.stored ? dueAtMs(this.stored) : Number.NaN;
    return Number.isNaN(at) ? undefined : toDate(at);
  }

  get deadline(): Date | undefined {
    const at = this.found && !this.endedAt ? deadlineOf(this.found) : undefined;
    return at === undefined ? undefined : toDate(at);
  }

  get attempts(): readonly AttemptStatus[] {
    return [...this.told.fold.attempts.values()];
  }

  get messages(): number {
    const isDone = this.isUnary && this.state === "succeeded";
    return isDone ? 1 : this.told.fold.messages;
  }

  get error(): ConnectError | undefined {
    const message = this.found?.last?.message;
    return message && isStatus(message) ? decodeStatus(message) : this.deadLetter?.error;
  }

  get requestHeader(): Headers | undefined {
    return this.stored?.metadata;
  }

  get hasRequest(): boolean {
    return this.stored !== undefined;
  }

  async requestBytes(): Promise<Uint8Array> {
    const { link, binding, stored } = this;
    if (!stored) {
      throw new ConnectError(
        `the request of call "${this.callId}" is gone: the server keeps it until the call has ended, and then only where it failed`,
        Code.NotFound,
      );
    }
    return new Uint8Array(await link.payloads.load(binding.service, stored, this.requestSpace));
  }

  async request(): Promise<Message> {
    const { link, binding, stored } = this;
    const bytes = await this.requestBytes();
    const message = decodeRequest(binding.desc, bytes, encodingOf(stored?.contentType ?? ""));
    bindBlobs(link, binding.service, this.requestSpace, binding.desc.input, message);
    return message;
  }

  responseBytes(range: ResponseRange = {}): AsyncIterable<Uint8Array> {
    return new Interruptible(this.readResponses(range));
  }

  responses(range: ResponseRange = {}): AsyncIterable<Message> {
    return new Interruptible(this.decodeResponses(range));
  }

  async blobs(): Promise<CallBlob[]> {
    const { input, output } = this.binding.desc;
    const all: CallBlob[] = [];
    if (this.hasRequest && holdsBlobs(input)) {
      const blobs = blobsIn(input, await this.request());
      all.push(...blobs.map((blob) => ({ of: "request" as const, ...partsOf(blob) })));
    }
    if (holdsBlobs(output)) {
      let message = 0;
      for await (const response of this.responses()) {
        const blobs = blobsIn(output, response);
        all.push(...blobs.map((blob) => ({ of: "response" as const, message, ...partsOf(blob) })));
        message++;
      }
    }
    return all;
  }

  async cancel(): Promise<boolean> {
    const { link, binding, call } = this;
    return await actAs("cancel a call", async () => {
      return (await endCall(link, binding, call, "cancelled")) === undefined;
    });
  }

  async toJson(registry: Registry = typesOf(this.binding.service.desc)): Promise<JsonObject> {
    const { method, owner, callId, state, messages, progress, error, requestHeader, workers } =
      this;
    const { acceptedAt, endedAt, startsAt, deadline } = this;
    const cause = await this.deadLetter?.cause();
    const { input, output } = this.binding.desc;
    return {
      method,
      owner,
      callId,
      state,
      ...timesJson({ acceptedAt, endedAt, startsAt, deadline }),
      attempts: this.attempts.map(attemptJson),
      ...(progress && { progress: toJson(ProgressSchema, progress) }),
      ...(error && { error: errorJson(error) }),
      ...(cause !== undefined && { cause }),
      ...(workers !== undefined && { workers }),
      ...(requestHeader && { headers: Object.fromEntries(requestHeader) }),
      ...(this.hasRequest && {
        ...(await readJson(
          "request",
          input,
          registry,
          () => this.requestBytes(),
          () => this.request(),
        )),
      }),
      messages,
      responses: await this.responsesJson(output, registry),
    };
  }

  private async responsesJson(output: DescMessage, registry: Registry): Promise<JsonObject[]> {
    const all: JsonObject[] = [];
    for await (const bytes of this.responseBytes({ limit: jsonMessages })) {
      const message = async () => decode(output, bytes, Code.DataLoss);
      all.push(await readJson("message", output, registry, async () => bytes, message));
    }
    return all;
  }

  private async *readResponses({
    from = 0,
    limit = Number.POSITIVE_INFINITY,
  }: ResponseRange): AsyncGenerator<Uint8Array, void, undefined> {
    const { link, binding, call } = this;
    const space = responseSpace(binding, call);
    let index = 0;
    const start = from > 0 ? await this.sequenceOf(from) : 0;
    if (from > 0 && start === 0) {
      return;
    }
    for await (const entry of readEntries(link, binding, call, {
      from: start,
      headersOnly: false,
    })) {
      if (index >= limit) {
        return;
      }
      if (this.isResponse(entry)) {
        index++;
        yield new Uint8Array(await link.payloads.load(binding.service, entry.message, space));
      }
    }
  }

  /** Where a message of the response is stored; 0 when it is not. */
  private async sequenceOf(wanted: number): Promise<number> {
    const { link, binding, call } = this;
    let index = 0;
    for await (const entry of readEntries(link, binding, call, { from: 0, headersOnly: true })) {
      if (this.isResponse(entry) && index++ === wanted) {
        return entry.sequence;
      }
    }
    return 0;
  }

  private isResponse({ kind, outcome }: Entry): boolean {
    return kind === "message" || (this.isUnary && outcome === "succeeded");
  }

  private async *decodeResponses(range: ResponseRange): AsyncGenerator<Message, void, undefined> {
    const { link, binding, call } = this;
    const { output } = binding.desc;
    for await (const bytes of this.readResponses(range)) {
      const message = decode(output, bytes, Code.DataLoss);
      bindBlobs(link, binding.service, responseSpace(binding, call), output, message);
      yield message;
    }
  }

  private get isUnary(): boolean {
    return this.binding.desc.methodKind === "unary";
  }

  private get requestSpace(): string {
    return requestSpace(this.binding, this.call);
  }
}

function partsOf(blob: Blob) {
  const { fileName, contentType, size } = blob;
  return { fileName, contentType, size: Number(size), blob };
}

function attemptJson(status: AttemptStatus): JsonObject {
  const { attempt, startedAt, endedAt, retryAt, error, worker } = status;
  return {
    attempt,
    ...(worker !== undefined && { worker }),
    ...timesJson({ startedAt, endedAt, retryAt }),
    ...(error && { error: errorJson(error) }),
  };
}
