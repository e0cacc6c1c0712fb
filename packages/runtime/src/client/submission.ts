import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { MethodBinding, Queue } from "../wire/binding.js";
import type { CallName } from "../wire/call-id.js";
import { dueSubject, findCall, laterSubject } from "../wire/call-search.js";
import { encode } from "../wire/codec.js";
import { digestOf } from "../wire/digest.js";
import { Header, HeaderBlock, headerSize } from "../wire/header.js";
import {
  isFull,
  pause,
  publishUntilStored,
  SequenceConflict,
  untilAnswered,
} from "../wire/jetstream.js";
import type { Link } from "../wire/link.js";
import { isOversize } from "../wire/payload-store.js";
import { provisionMissingOnce } from "../wire/provision.js";
import type { SubmitOptions } from "./call.js";
import { checkQueueAge } from "./queue-age.js";

/** How long submit() keeps trying to reach the server when no timeout is given, in ms. */
const patienceMs = 30_000;

/** Stores one request, in the queue of its method or where it waits for its time. */
export class Submission {
  private readonly queue: Queue;
  private readonly bytes: Uint8Array;
  private readonly metadata: Headers | undefined;
  private digest: string | undefined;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    private readonly call: CallName,
    request: MessageInitShape<DescMessage>,
    private readonly options: SubmitOptions,
  ) {
    this.queue = findQueue(method, options);
    this.bytes = encode(method.desc.input, request, Code.InvalidArgument);
    this.metadata = options.headers === undefined ? undefined : new Headers(options.headers);
  }

  /** Resolves when the server has stored it. Errors: see {@link Durable.submit}. */
  async run(): Promise<void> {
    const { link, method, bytes, options } = this;
    if (options.callId !== undefined) {
      this.digest = await digestOf(bytes);
      if (await this.isKnown()) {
        return;
      }
    }
    if (method.service.maxQueueAgeMs > 0) {
      await checkQueueAge(link, method, this.queue);
    }
    let object: string | undefined;
    const size = this.metadata ? headerSize(this.headers(true)) : 0;
    if (isOversize(bytes, size, link.maxPayload)) {
      object = await link.payloads.put(method.service, bytes);
    }
    try {
      await this.store(object ? new Uint8Array(0) : bytes, object);
    } catch (error) {
      if (object !== undefined) {
        void link.payloads.delete(method.service, object);
      }
      throw error;
    }
  }

  private async store(payload: Uint8Array, object: string | undefined): Promise<void> {
    const { link, method, call, options } = this;
    const timeoutMs = options.timeoutMs || patienceMs;
    const giveUpAt = Date.now() + timeoutMs;
    for (let retry = 0; ; retry++) {
      try {
        await publishUntilStored(
          link,
          options.notBefore ? laterSubject(method, call) : `${this.queue.subject}.${call.suffix}`,
          payload,
          (isRetry) => this.headers(isRetry || retry > 0, object),
          {
            timeoutMs: giveUpAt - Date.now(),
            // The first call of a service may come before its first worker.
            makeStream: () => provisionMissingOnce(link, method),
          },
        );
        return;
      } catch (error) {
        const isTaken = error instanceof SequenceConflict;
        // It may be there since a try whose answer was lost.
        if ((isTaken || isFull(error)) && (await this.isKnown())) {
          return;
        }
        // A write under way that was not stored in the end.
        if (!isTaken || Date.now() >= giveUpAt) {
          throw isFull(error) ? queueFull(method, error) : error;
        }
        await pause(retry);
      }
    }
  }

  /** True when the call was accepted before. Throws AlreadyExists when it was another one. */
  private async isKnown(): Promise<boolean> {
    const { link, method, call } = this;
    const found = await untilAnswered(link, () => findCall(link, method, call));
    const digest = (found?.request ?? found?.last?.message)?.headers?.get(Header.digest);
    if (digest && this.digest !== undefined && digest !== this.digest) {
      throw new ConnectError(
        `${method.desc.toString()}: call "${call.callId}" exists with another request: use another call id, or attach to it`,
        Code.AlreadyExists,
      );
    }
    return found !== undefined;
  }

  private headers(isRetry: boolean, object?: string): HeaderBlock | undefined {
    const { metadata, digest, options } = this;
    const { timeoutMs, notBefore } = options;
    const headers = new HeaderBlock();
    if (timeoutMs !== undefined && timeoutMs > 0) {
      headers.add(Header.timeout, Math.ceil(timeoutMs));
    }
    if (digest !== undefined) {
      headers.add(Header.digest, digest);
    }
    if (digest !== undefined || isRetry || notBefore) {
      headers.add(Header.replay, 1).add(Header.expectedLastSubjectSequence, 0);
    }
    if (notBefore) {
      const target = dueSubject(this.method, this.queue.subject, this.call);
      headers.add(Header.schedule, `@at ${notBefore.toISOString()}`);
      headers.add(Header.scheduleTarget, target);
    }
    if (object !== undefined) {
      headers.add(Header.payload, object);
    }
    if (metadata) {
      headers.addMetadata(metadata);
    }
    return headers.isEmpty ? undefined : headers;
  }
}

function findQueue(
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
  if (notBefore && Number.isNaN(notBefore.getTime())) {
    throw new ConnectError("notBefore is no valid date", Code.InvalidArgument);
  }
  return queue;
}

function queueFull(method: MethodBinding, cause: unknown): ConnectError {
  return new ConnectError(
    `${method.desc.toString()}: the queue takes no more calls (${ConnectError.from(cause).rawMessage}): add workers, submit later, or raise max_queue_length or the server's limits`,
    Code.ResourceExhausted,
    undefined,
    undefined,
    cause,
  );
}
