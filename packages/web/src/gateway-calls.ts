import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  isMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Any, AnySchema, durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Transport, type UnaryResponse } from "@connectrpc/connect";
import type {
  CallStatus,
  MessagesOptions,
  Progress,
  SignalOptions,
  SubmitOptions,
  WaitOptions,
} from "@jetrpc/runtime";
import { Interruptible, toHeaders } from "@jetrpc/runtime/caller";
import { attempt, attempts, type Persistence } from "./attempts.js";
import { callStatus } from "./call-status.js";
import { lossOf } from "./connection-lost.js";
import type { GatewayBlobs } from "./gateway-blobs.js";
import { CallPriority, CallService } from "./gen/jetrpc/v1/call_service_pb.js";
import type { Reach } from "./reach.js";
import { SharedStreams } from "./shared-streams.js";
import type { WaitLimits, Waits } from "./wait.js";

/** Names a call: `method` as the gateway does, "pdf.v1.PdfService/Split". */
interface CallKey {
  readonly method: string;
  readonly callId: string;
}

const service = CallService.method;
const left = new ConnectError("the reader has left", Code.Canceled);

/** How long a request may take to be accepted, in ms, and how slowly it may be sent, in bytes a ms. */
const acceptMs = 60_000;
const slowestRate = 16;

/**
 * Submits durable calls at a gateway, and comes back to them. All of it is repeated while the
 * gateway is away: a call is submitted under its id, which is accepted once, and who reads goes
 * on after what there is already.
 */
export class GatewayCalls {
  /** However many wait for a call, one request asks. */
  private readonly results = new SharedStreams<
    UnaryResponse<typeof service.result.input, typeof service.result.output>
  >();
  private readonly reports = new SharedStreams<Progress>();

  constructor(
    private readonly transport: Transport,
    private readonly waits: Waits,
    private readonly blobs: GatewayBlobs,
    private readonly reach: Reach,
  ) {}

  /** Stores a call. Errors: see {@link Durable.submit}. */
  async submit<I extends DescMessage>(
    desc: DescMethod & { input: I },
    callId: string,
    message: MessageInitShape<I>,
    { callId: given, headers, timeoutMs = 0, notBefore, priority, signal }: SubmitOptions,
  ): Promise<void> {
    const fields = {
      ...keyOf(desc, callId),
      ...(timeoutMs > 0 && { timeout: durationFromMs(Math.ceil(timeoutMs)) }),
      ...(notBefore && { notBefore: timestampFromDate(notBefore) }),
      ...(priority && { priority: priorities[priority] }),
    };
    const header = headers && toHeaders(headers);
    await this.wait({ signal, timeoutMs }, async (persistence) => {
      const isNamed = given !== undefined;
      const sent = await this.blobs.upload(desc, callId, message, isNamed, persistence);
      const request = { ...fields, request: pack(desc.input, sent) };
      const submit = (attempted: AbortSignal) =>
        this.transport.unary(service.submit, attempted, undefined, header, request);
      // It begins anew with each attempt: a slow line, or a look at another tab, is no dead connection.
      const sendMs = request.request.value.length / slowestRate;
      const times = { silenceMs: acceptMs + sendMs, suspectMs: 2_000 + sendMs };
      await attempt(submit, { ...persistence, ...times });
    });
  }

  status(desc: DescMethod, callId: string, options?: SignalOptions): Promise<CallStatus> {
    const key = keyOf(desc, callId);
    return this.wait(options, (persistence) => this.readStatus(key, persistence));
  }

  cancel(desc: DescMethod, callId: string, options?: SignalOptions): Promise<boolean> {
    const key = keyOf(desc, callId);
    return this.wait(options, async (persistence) => {
      let tries = 0;
      const { message } = await attempt((signal) => {
        tries++;
        return this.transport.unary(service.cancel, signal, undefined, undefined, key);
      }, persistence);
      if (message.cancelled || tries === 1) {
        return message.cancelled;
      }
      // The answer to the first try may have been lost.
      return (await this.readStatus(key, persistence)).state === "cancelled";
    });
  }

  /** Waits for the message that a unary call ends with. */
  result<O extends DescMessage>(
    desc: DescMethod & { output: O },
    callId: string,
    { onHeader, onTrailer, ...options }: WaitOptions = {},
  ): Promise<MessageShape<O>> {
    const key = keyOf(desc, callId);
    const ask = async function* (this: GatewayCalls, signal: AbortSignal) {
      const { transport } = this;
      yield await attempt(
        (attempted) => transport.unary(service.result, attempted, undefined, undefined, key),
        { signal, isFinal: this.endedWith(signal)(key) },
      );
    };
    return this.wait(options, async ({ signal }) => {
      const responses = this.results.read(nameOf(key), ask.bind(this), signal);
      for await (const response of responses) {
        const message = this.read(desc, response.message.response);
        onHeader?.(response.header);
        onTrailer?.(response.trailer);
        return message;
      }
      throw new ConnectError("a result is missing", Code.Internal);
    });
  }

  /** The messages of a streamed response. Errors: what the call ended with, or the wait. */
  messages<O extends DescMessage>(
    desc: DescMethod & { output: O },
    callId: string,
    { from = 0, onHeader, onTrailer, ...options }: MessagesOptions & WaitOptions = {},
  ): Interruptible<MessageShape<O>> {
    const { transport } = this;
    const key = keyOf(desc, callId);
    const read = (any: Any | undefined) => this.read(desc, any);
    let index = from;
    const open = async function* (signal: AbortSignal) {
      const request = one({ ...key, from: index });
      const { messages } = service;
      const response = await transport.stream(messages, signal, undefined, undefined, request);
      onHeader?.(response.header);
      yield* response.message;
      onTrailer?.(response.trailer);
    };
    return this.iterate(options, async function* (persistence, isFinal) {
      for await (const { message } of attempts(open, { ...persistence, isFinal: isFinal(key) })) {
        index++;
        yield read(message);
      }
    });
  }

  /** The reports of progress of a call, until it ends. Errors: see {@link Call.progress}. */
  progress(desc: DescMethod, callId: string, options?: SignalOptions): Interruptible<Progress> {
    const { transport } = this;
    const request = keyOf(desc, callId);
    const open = async function* (signal: AbortSignal) {
      const { follow } = service;
      const response = await transport.stream(follow, signal, undefined, undefined, one(request));
      for await (const { update } of response.message) {
        const report = update.case === "status" ? update.value.progress : update.value;
        if (report) {
          yield report as Progress;
        }
      }
    };
    const follow = async function* (signal: AbortSignal) {
      let shown: Progress | undefined;
      // Whoever begins anew, and the status, tell the last one again.
      for await (const report of attempts(open, { signal })) {
        if (!shown || !isSame(shown, report)) {
          shown = report;
          yield report;
        }
      }
    };
    const { reports } = this;
    return this.iterate(options, ({ signal }) => reports.read(nameOf(request), follow, signal));
  }

  private read<O extends DescMessage>(
    desc: DescMethod & { output: O },
    any: Any | undefined,
  ): MessageShape<O> {
    const message = unpack(desc.output, any);
    this.blobs.bind(desc, message);
    return message;
  }

  private async readStatus(key: CallKey, persistence: Persistence): Promise<CallStatus> {
    const { message } = await attempt(
      (signal) => this.transport.unary(service.status, signal, undefined, undefined, key),
      persistence,
    );
    return callStatus(message);
  }

  /** Tells whether the error of a wait is what the call ended with: it may end with Unavailable, too. */
  private endedWith(signal: AbortSignal) {
    return (key: CallKey) =>
      async ({ code, rawMessage }: ConnectError): Promise<boolean> => {
        try {
          const { error } = await this.readStatus(key, { signal });
          return error?.code === code && error.rawMessage === rawMessage;
        } catch (thrown) {
          const failed = ConnectError.from(thrown);
          if (signal.aborted || failed.code !== Code.Unavailable || lossOf(failed)) {
            throw failed;
          }
          // The gateway cannot tell yet: a call is waited for until its end.
          return false;
        }
      };
  }

  private async wait<T>(
    limits: WaitLimits | undefined,
    work: (persistence: Persistence) => Promise<T>,
  ): Promise<T> {
    const wait = this.waits.begin(limits);
    try {
      return await work({ signal: wait.signal, reach: this.reach });
    } finally {
      wait.end();
    }
  }

  private iterate<T>(
    limits: WaitLimits | undefined,
    read: (
      persistence: Persistence,
      isFinal: ReturnType<GatewayCalls["endedWith"]>,
    ) => AsyncIterable<T>,
  ): Interruptible<T> {
    const wait = this.waits.begin(limits);
    const { signal } = wait;
    const isFinal = this.endedWith(signal);
    async function* run(): AsyncGenerator<T, void, undefined> {
      try {
        yield* read({ signal }, isFinal);
      } finally {
        wait.end();
      }
    }
    return new Interruptible(run(), () => {
      wait.leave(left);
      wait.end();
    });
  }
}

const typePrefix = "type.googleapis.com/";

function pack<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Any {
  try {
    const message = isMessage(init, schema) ? init : create(schema, init);
    return create(AnySchema, {
      typeUrl: typePrefix + schema.typeName,
      value: toBinary(schema, message as MessageShape<D>),
    });
  } catch (cause) {
    throw failure(`cannot serialize ${schema.typeName}`, Code.InvalidArgument, cause);
  }
}

function unpack<D extends DescMessage>(schema: D, any: Any | undefined): MessageShape<D> {
  try {
    return fromBinary(schema, any?.value ?? new Uint8Array());
  } catch (cause) {
    throw failure(`cannot parse ${schema.typeName}`, Code.DataLoss, cause);
  }
}

function failure(what: string, code: Code, cause: unknown): ConnectError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ConnectError(`${what}: ${why}`, code, undefined, undefined, cause);
}

function keyOf({ parent, name }: DescMethod, callId: string): CallKey {
  return { method: `${parent.typeName}/${name}`, callId };
}

function nameOf({ method, callId }: CallKey): string {
  return `${method} ${callId}`;
}

async function* one<T>(request: T): AsyncGenerator<T> {
  yield request;
}

function isSame(a: Progress, b: Progress): boolean {
  return a.done === b.done && a.total === b.total && a.message === b.message;
}

const priorities = {
  low: CallPriority.LOW,
  normal: CallPriority.NORMAL,
  high: CallPriority.HIGH,
} as const;
