import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg, Subscription } from "@nats-io/nats-core";
import { type Link, queueGroup } from "../link/link.js";
import type { HeaderBlock } from "../message/header.js";
import { encodeStatus } from "../message/status.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { withImports } from "../schema/imported-files.js";
import { Discovery, discoverySubject, microName, type Verb } from "../schema/micro-names.js";
import { isReplySubject } from "./reply-subject.js";
import type { ServedMethod } from "./served-method.js";

/** Prefix of the types of all replies. */
const replyType = "io.nats.micro.v1";

const encoder = new TextEncoder();

/** https://semver.org, as ADR-32 has it. */
const semanticVersion =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$/;

/** Throws InvalidArgument for what is no semantic version. */
export function checkVersion(version: string): string {
  if (!semanticVersion.test(version)) {
    throw new ConnectError(
      `version "${version}" is no semantic version: give one like 1.2.3`,
      Code.InvalidArgument,
    );
  }
  return version;
}

/**
 * Shows a worker as a service of NATS micro: it answers PING, INFO and STATS
 * (ADR-32), and gives its descriptors to whoever wants to call without a .proto.
 */
export class MicroService {
  private readonly name: string;
  private readonly startedAt = new Date().toISOString();
  private readonly subscriptions: Subscription[] = [];
  private status = "SERVING";

  constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    private readonly served: readonly ServedMethod[],
  ) {
    this.name = microName(service.desc.typeName);
  }

  start(): void {
    const replies: Record<Verb, () => string> = {
      PING: () => this.fitting(this.head("ping")),
      INFO: () =>
        this.fitting(
          {
            ...this.head("info"),
            description: `${this.service.desc.typeName}, by jetrpc`,
          },
          (each) => this.endpoint(each),
        ),
      STATS: () =>
        this.fitting({ ...this.head("stats"), started: this.startedAt }, (each) =>
          this.endpointStats(each),
        ),
    };
    for (const [verb, reply] of Object.entries(replies) as [Verb, () => string][]) {
      const answer = (message: Msg) => this.answer(message, encoder.encode(reply()));
      for (const subject of [
        discoverySubject(verb),
        discoverySubject(verb, this.name),
        discoverySubject(verb, this.name, this.id),
      ]) {
        // A worker that may not be discovered works all the same.
        this.subscriptions.push(this.link.subscribe(subject, answer));
      }
    }
    for (const { method } of this.served) {
      if (method.delivery === "durable") {
        const refuse = (message: Msg) => this.refuse(method, message);
        this.subscriptions.push(
          this.link.subscribe(method.durableSubject, refuse, { queue: queueGroup }),
        );
      }
    }
    this.subscriptions.push(
      this.link.subscribe(this.service.describeSubject, (message) => this.describe(message), {
        queue: queueGroup,
      }),
    );
  }

  /** Tells that the worker takes nothing new. */
  drain(): void {
    this.status = "NOT_SERVING";
  }

  stop(): void {
    for (const subscription of this.subscriptions) {
      subscription.unsubscribe();
    }
  }

  private get id(): string {
    // A worker serves one method at least.
    return (this.served[0] as ServedMethod).settings.session;
  }

  private head(kind: string) {
    return {
      type: `${replyType}.${kind}_response`,
      name: this.name,
      id: this.id,
      version: (this.served[0] as ServedMethod).settings.version,
      metadata: {
        [Discovery.service]: this.service.desc.typeName,
        [Discovery.status]: this.status,
        [Discovery.methods]: this.service.desc.methods.map(({ name }) => name).join(),
        [Discovery.describe]: this.service.describeSubject,
      },
    };
  }

  /**
   * An answer of as many endpoints as one message has room for. Where these are not all,
   * its metadata says how many there are, and lacks the names of all methods where even
   * these are too many.
   */
  private fitting<H extends ReturnType<MicroService["head"]>>(
    head: H,
    endpoint?: (served: ServedMethod) => object,
  ): string {
    const { served } = this;
    let room = this.link.maxPayload - answerReserve;
    const { [Discovery.methods]: names, ...rest } = head.metadata;
    const metadata = textSize(names) < room / 2 ? head.metadata : rest;
    room -= textSize({ ...head, metadata });
    const endpoints: object[] = [];
    for (const each of endpoint ? served : []) {
      const made = (endpoint as (served: ServedMethod) => object)(each);
      room -= textSize(made) + 1;
      if (room < 0) {
        break;
      }
      endpoints.push(made);
    }
    const isCut = endpoint !== undefined && endpoints.length < served.length;
    return JSON.stringify({
      ...head,
      metadata: { ...metadata, ...(isCut && { [Discovery.endpoints]: `${served.length}` }) },
      ...(endpoint && { endpoints }),
    });
  }

  private endpoint({ method }: ServedMethod) {
    const { desc, delivery } = method;
    return {
      name: desc.name,
      ...where(method),
      metadata: {
        [Discovery.delivery]: delivery,
        [Discovery.kind]: desc.methodKind,
        [Discovery.input]: desc.input.typeName,
        [Discovery.output]: desc.output.typeName,
      },
    };
  }

  private endpointStats({ method, stats }: ServedMethod) {
    const nanoseconds = stats.processingMs * 1e6;
    return {
      name: method.desc.name,
      ...where(method),
      num_requests: stats.requests,
      num_errors: stats.errors,
      last_error: stats.lastError,
      processing_time: Math.round(nanoseconds),
      average_processing_time: Math.round(nanoseconds / Math.max(1, stats.requests)),
      data: { running: stats.running, slots: stats.slots },
    };
  }

  /** Tools of NATS micro send requests where an endpoint says that it listens. */
  private refuse({ desc }: MethodBinding, { reply }: Msg): void {
    const text = `${desc.toString()} is durable, and is not called by a direct request: submit it with a client that is generated from the schema of its workers`;
    const { maxPayload } = this.link;
    this.send(
      reply,
      encodeStatus(new ConnectError(text, Code.Unimplemented), { maxBytes: maxPayload }),
    );
  }

  private describe(message: Msg): void {
    const file = withImports(this.service.desc.file).map(({ proto }) => proto);
    const set = create(FileDescriptorSetSchema, { file });
    const payload = toBinary(FileDescriptorSetSchema, set);
    this.answer(message, payload);
  }

  private answer({ reply }: Msg, payload: Uint8Array): void {
    const { maxPayload } = this.link;
    if (payload.length <= maxPayload) {
      this.send(reply, { payload });
      return;
    }
    const text = `the answer has ${payload.length} bytes, more than the server's max_payload of ${maxPayload}`;
    const error = new ConnectError(text, Code.ResourceExhausted);
    this.send(reply, encodeStatus(error, { maxBytes: maxPayload }));
  }

  private send(
    reply: string | undefined,
    { payload, headers }: { payload: Uint8Array; headers?: HeaderBlock },
  ): void {
    const { link, service } = this;
    if (link.connected && isReplySubject(service, reply)) {
      link.publish(reply, payload, headers && { headers: headers.asHeaders() });
    }
  }
}

/** Bytes of an answer that are left for what is added to it last. */
const answerReserve = 256;

/** How many bytes a value takes as JSON, or more. */
function textSize(value: unknown): number {
  return encoder.encode(JSON.stringify(value)).length;
}

/** Where a method listens; a durable one refuses what comes there. */
function where({ delivery, directSubject, durableSubject }: MethodBinding) {
  const subject = delivery === "direct" ? directSubject : durableSubject;
  return { subject, queue_group: queueGroup };
}
