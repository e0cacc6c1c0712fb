import type { DescMethod, DescService } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { Watch } from "../link/observer.js";
import { startTimer } from "../link/timer.js";
import { HeaderBlock, methodUrl } from "../message/header.js";
import { appendMetadata, readMetadata } from "../message/metadata.js";
import { checkMetadata } from "../message/metadata-limit.js";
import type { MethodBinding } from "../schema/binding.js";

/** The progress that a handler may report. */
export interface ProgressReport {
  /** Units of work done so far. */
  done: number;
  /** Units of work in all. Default: 0, unknown. */
  total?: number | undefined;
  /** A text for a person to read: the work that is being done. Default: empty. */
  message?: string | undefined;
}

/** The context of a handler of a durable method: its call, and its attempt. */
export interface DurableHandlerContext extends HandlerContext {
  /** Identifies the call; the same for all its attempts. */
  readonly callId: string;
  /** Number of this attempt, from 1. */
  readonly attempt: number;
  /**
   * How many messages of a streamed response earlier attempts stored. With
   * `resume: RESUME_HANDLER` the handler yields only those that follow.
   */
  readonly resumeFrom: number;
  /**
   * Tells the followers of the call how far it is. Cheap: a report is sent at
   * most four times a second, the last one always. A message is cut at 4,096 bytes, or at
   * a quarter of the server's max_payload where that is less. When the call has ended
   * nothing is sent.
   *
   * Throws InvalidArgument when `done` or `total` is no number or `message` no text.
   */
  progress(report: ProgressReport): void;
}

/**
 * Context of a call whose parts are made when a handler asks for them: most
 * handlers look at none.
 */
export class LazyHandlerContext implements HandlerContext {
  readonly requestMethod = "POST";
  readonly protocolName = "jetrpc";
  /** Of the handler that runs with it: for `batched()` alone. */
  watch: Watch | undefined;
  private controller: AbortController | undefined;
  private isAborted = false;
  private abortReason: unknown;
  private stopTimer: (() => void) | undefined;
  private readonly endsAt: number | undefined;
  private header: Headers | undefined;
  private trailer: Headers | undefined;
  private requestMetadata: Headers | undefined;
  private contextValues: ContextValues | undefined;

  constructor(
    private readonly binding: MethodBinding,
    private readonly request: Msg,
    /** How long the call may take, in ms; 0 for no limit. */
    limitMs: number,
    /** False when that is what the schema says, not the caller. */
    private readonly isCallers: boolean,
  ) {
    this.endsAt = limitMs > 0 ? Date.now() + limitMs : undefined;
  }

  get method(): DescMethod {
    return this.binding.desc;
  }

  get service(): DescService {
    return this.binding.service.desc;
  }

  get url(): string {
    return methodUrl(this.service, this.method.name);
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.isAborted) {
        this.controller.abort(this.abortReason);
      } else if (this.endsAt !== undefined) {
        this.stopTimer = startTimer(() => this.expire(), this.endsAt - Date.now());
      }
    }
    return this.controller.signal;
  }

  get requestHeader(): Headers {
    this.requestMetadata ??= readMetadata(this.request.headers, "request");
    return this.requestMetadata;
  }

  get responseHeader(): Headers {
    this.header ??= new Headers();
    return this.header;
  }

  get responseTrailer(): Headers {
    this.trailer ??= new Headers();
    return this.trailer;
  }

  get values(): ContextValues {
    this.contextValues ??= createContextValues();
    return this.contextValues;
  }

  /**
   * Time left for the call in ms; undefined when its caller set no limit, whatever the
   * schema says.
   */
  get timeoutMs(): () => number | undefined {
    const { endsAt } = this;
    return () => (endsAt === undefined || !this.isCallers ? undefined : endsAt - Date.now());
  }

  /**
   * Response header and trailer as they are sent; undefined where the handler set none.
   * Errors: those of {@link checkMetadata}.
   */
  responseMetadata(
    maxPayload: number,
    part: "header" | "trailer" | "both" = "both",
  ): HeaderBlock | undefined {
    const header = part === "trailer" ? undefined : this.header;
    const trailer = part === "header" ? undefined : this.trailer;
    if (!header && !trailer) {
      return undefined;
    }
    const block = new HeaderBlock();
    if (header) {
      block.addMetadata(header, "header");
    }
    if (trailer) {
      block.addMetadata(trailer, "trailer");
    }
    try {
      checkMetadata(block, maxPayload, `the response of ${this.method.toString()}`);
    } catch (error) {
      // The error that takes its place has no room for it either.
      this.header = header ? undefined : this.header;
      this.trailer = trailer ? undefined : this.trailer;
      throw error;
    }
    return block.isEmpty ? undefined : block;
  }

  /** The response header, where the handler set any. */
  get leadingMetadata(): Headers | undefined {
    return this.header;
  }

  /** An error with the trailer that the handler set, before its own metadata. */
  withTrailer(error: ConnectError): ConnectError {
    if (!this.trailer) {
      return error;
    }
    const complete = new ConnectError(error.rawMessage, error.code, this.trailer, [], error);
    complete.details = error.details;
    appendMetadata(complete.metadata, error.metadata);
    return complete;
  }

  /** The time of the call is over. */
  protected expire(): void {
    this.abort(new ConnectError("the deadline is over", Code.DeadlineExceeded));
  }

  /**
   * Fires the signal, at the end of every call; as in Connect with an AbortError when it has
   * ended well, and otherwise with what ended it. The first reason counts.
   */
  abort(reason?: unknown): void {
    this.stopTimer?.();
    if (!this.isAborted) {
      this.isAborted = true;
      this.abortReason = reason;
      this.controller?.abort(reason);
    }
  }
}

/**
 * Context of a direct call. It has all that the type of a handler promises, which does not
 * tell whether a method is direct: there is one attempt, and no call id.
 */
export class DirectHandlerContext extends LazyHandlerContext implements DurableHandlerContext {
  get callId(): string {
    return "";
  }

  get attempt(): number {
    return 1;
  }

  get resumeFrom(): number {
    return 0;
  }

  get progress(): (report: ProgressReport) => void {
    const text = `${this.method.toString()} is a direct method, whose progress nobody can follow: leave out progress(), or make it durable by (jetrpc.v1.method).delivery`;
    return () => {
      throw new ConnectError(text, Code.FailedPrecondition);
    };
  }
}
