import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { nuid } from "@nats-io/nats-core";
import {
  acceptCall,
  findAccepted,
  type NewRequest,
  requestHeaderSize,
} from "../ledger/accepting.js";
import type { FoundCall } from "../ledger/found-call.js";
import { checkQueueAge } from "../ledger/queue-age.js";
import { refuseOtherDomainOnce } from "../link/domain.js";
import type { Link } from "../link/link.js";
import type { Watch } from "../link/observer.js";
import { canceled } from "../link/pending-reply.js";
import { checkTimeoutMs } from "../link/timer.js";
import { until } from "../link/until.js";
import { causedError } from "../message/caused-error.js";
import { checkSize, encode, type MessageLimits } from "../message/codec.js";
import { digestOf } from "../message/digest.js";
import type { HeaderBlock } from "../message/header.js";
import { toHeaders } from "../message/metadata.js";
import { requestMetadata } from "../message/metadata-limit.js";
import { isOversize } from "../message/oversize.js";
import { isConnectError, textOf } from "../message/thrown.js";
import { OutgoingBlobs } from "../objects/outgoing-blobs.js";
import { removeObjects } from "../objects/payload-store.js";
import { uploadIndex } from "../objects/uploaded-blobs.js";
import type { MethodBinding, Queue } from "../schema/binding.js";
import { holdsBlobs } from "../schema/blob-fields.js";
import type { CallName } from "../schema/call-id.js";
import { requestSpace, uploadBase } from "../schema/object-name.js";
import type { SubmitOptions } from "./call.js";

/** Stores one request, in the queue of its method or where it waits for its time. */
export class Submission {
  private readonly queue: Queue;
  private readonly blobs: OutgoingBlobs<DescMessage> | undefined;
  private readonly metadata: HeaderBlock | undefined;
  /** The request; empty while its Blobs are not stored. */
  private bytes: Uint8Array = new Uint8Array(0);
  private digest: string | undefined;
  /** All that was found of the call when it was last looked for. */
  private found: FoundCall | undefined;
  /** The objects that hold parts of the request; their names say what they are of. */
  private base = "";
  private objects = 0;
  /** Reference to the object that holds the request itself when it is large. */
  private payload: string | undefined;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    private readonly call: CallName,
    request: MessageInitShape<DescMessage>,
    private readonly options: SubmitOptions,
    private readonly limits: MessageLimits,
    watch?: Watch,
  ) {
    checkTimeoutMs(options.timeoutMs);
    this.queue = findQueue(method, options);
    const { input } = method.desc;
    if (holdsBlobs(input)) {
      this.blobs = new OutgoingBlobs(input, request, Code.InvalidArgument);
    } else {
      this.bytes = this.checked(encode(input, request, Code.InvalidArgument));
    }
    const { headers } = options;
    this.metadata = requestMetadata(headers && toHeaders(headers), watch, link.maxPayload);
  }

  /** Resolves when the server has stored it. Errors: see {@link Durable.submit}. */
  run(): Promise<unknown> {
    const { link, method, blobs, options, metadata, bytes } = this;
    // Most requests need no look at the server, and store nothing besides.
    const isPlain =
      link.domain === undefined &&
      options.callId === undefined &&
      !blobs &&
      !metadata &&
      method.service.maxQueueAgeMs === 0 &&
      !isOversize(bytes, 0, link.maxPayload);
    return isPlain ? this.store() : this.prepareAndStore();
  }

  private async prepareAndStore(): Promise<void> {
    const { link, method, blobs, options } = this;
    const { timeoutMs } = this;
    await until(link, () => refuseOtherDomainOnce(link, method), { timeoutMs });
    const isNamed = options.callId !== undefined;
    if (isNamed && (!blobs || blobs.isRereadable)) {
      this.digest = blobs ? await readSource(blobs.digest(link)) : await digestOf(this.bytes);
      if (await this.isKnown()) {
        return;
      }
    }
    if (method.service.maxQueueAgeMs > 0) {
      await checkQueueAge(link, method, this.queue);
    }
    try {
      if (blobs) {
        await this.storeBlobs(blobs, isNamed);
        if (isNamed && !blobs.isRereadable && (await this.isKnown())) {
          this.removeUnused();
          return;
        }
      }
      const size =
        this.metadata || this.objects > 0 ? requestHeaderSize(method, this.call, this.request) : 0;
      if (isOversize(this.bytes, size, link.maxPayload)) {
        await this.storePayload();
      }
      this.found = (await this.store()) ?? this.found;
    } catch (error) {
      this.removeObjects();
      throw error;
    }
    this.removeUnused();
  }

  /** Stores what the Blobs of the request hold. */
  private async storeBlobs(blobs: OutgoingBlobs<DescMessage>, isNamed: boolean): Promise<void> {
    const { link, method, digest } = this;
    this.base = blobs.areUploaded ? uploadBase : (digest ?? nuid.next());
    this.objects = blobs.count;
    const resumes = digest !== undefined;
    const { signal } = this.options;
    const stored = await readSource(
      blobs.store(link, method.service, (index) => `${this.objectPrefix}.${index}`, {
        resumes,
        signal,
      }),
    );
    if (blobs.areUploaded) {
      // Their numbers are those that the uploads were given.
      this.objects = 1 + Math.max(...stored.map(({ name }) => uploadIndex(name)));
    }
    this.bytes = this.checked(blobs.encode(stored));
    if (!isNamed) {
      return;
    }
    this.digest = await blobs.digestOfMessage(stored);
    if (resumes && this.digest !== digest) {
      // Not the base of the objects any more: what is wrong with them goes with them.
      throw new ConnectError(
        `${method.desc.toString()}: a Blob changed while it was read: submit it again`,
        Code.FailedPrecondition,
      );
    }
  }

  private checked(bytes: Uint8Array): Uint8Array {
    checkSize(this.method.desc.input, bytes, this.limits, "writeMaxBytes");
    return bytes;
  }

  /** Stores a request that is too large for one message. */
  private async storePayload(): Promise<void> {
    const { link, method, bytes } = this;
    this.base ||= this.digest ?? nuid.next();
    const name = `${this.objectPrefix}.${this.objects++}`;
    const resumes = this.isShared;
    this.payload = await link.payloads.put(method.service, name, bytes, { resumes });
  }

  private checkSignal(signal: AbortSignal): void {
    if (signal.aborted) {
      throw canceled(signal);
    }
  }

  /** How long the server is waited for, in ms; undefined for the default. */
  private get timeoutMs(): number | undefined {
    const { timeoutMs = 0 } = this.options;
    return timeoutMs > 0 ? timeoutMs : undefined;
  }

  private get objectPrefix(): string {
    return `${requestSpace(this.method, this.call)}.${this.base}`;
  }

  /** True when the objects are those of whoever submits the same call. */
  private get isShared(): boolean {
    return this.base === this.digest || this.base === uploadBase;
  }

  /** Removes what was stored, unless who submits the same again can go on with it. */
  private removeObjects(): void {
    const { link, method, base, objectPrefix: prefix, objects: count } = this;
    if (base && !this.isShared) {
      removeObjects(link, method.service, { prefix, count });
    }
  }

  /** The call may have been there already, with objects of its own, or have ended. */
  private removeUnused(): void {
    const { last, request } = this.found ?? {};
    if (request ? request.objectBase !== (this.base || undefined) : last?.kind === "end") {
      this.removeObjects();
    }
  }

  private store(): Promise<FoundCall | undefined> {
    const { link, method, call, timeoutMs } = this;
    const { signal } = this.options;
    return acceptCall(link, method, call, this.request, {
      timeoutMs,
      // The caller may have given up meanwhile.
      check: signal && (() => this.checkSignal(signal)),
    });
  }

  /** True when the call was accepted before. Throws AlreadyExists when it was another one. */
  private async isKnown(): Promise<boolean> {
    const { link, method, call, digest } = this;
    this.found = await findAccepted(link, method, call, digest);
    return this.found !== undefined;
  }

  private get request(): NewRequest {
    const { bytes, payload, base, objects, digest, options, metadata, queue } = this;
    return {
      payload: payload ? new Uint8Array(0) : bytes,
      object: payload,
      objects: objects > 0 ? { base, count: objects } : undefined,
      digest,
      timeoutMs: options.timeoutMs,
      notBefore: options.notBefore,
      metadata,
      queue,
    };
  }
}

/** Waits for what reads the source of a Blob, which may fail in its own way. */
async function readSource<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    if (isConnectError(cause)) {
      throw cause;
    }
    throw causedError(
      `cannot read the source of a Blob: ${textOf(cause)}`,
      Code.FailedPrecondition,
      cause,
    );
  }
}

/** The queue that a call goes to. Throws InvalidArgument for a priority or a time that cannot be. */
export function findQueue(
  method: MethodBinding,
  { priority = "normal", notBefore }: SubmitOptions,
): Queue {
  const queue = method.queues.find((each) => each.priority === priority);
  if (!queue) {
    throw new ConnectError(
      `${method.desc.toString()} has no priority "${priority}": set \`priorities: true\` in its options`,
      Code.InvalidArgument,
    );
  }
  // The server reads years of four digits.
  if (notBefore && !(Number(notBefore) < Date.UTC(10_000, 0))) {
    const text = "notBefore must be a valid Date before the year 10000";
    throw new ConnectError(text, Code.InvalidArgument);
  }
  return queue;
}
