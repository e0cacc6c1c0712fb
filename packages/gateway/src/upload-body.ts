import { Code, ConnectError } from "@connectrpc/connect";
import { bodyOf } from "./exchange.js";
import { type HttpRequest, Refusal } from "./refuse.js";

/** How much the body of an upload may bring, and how slowly. */
export interface BodyLimits {
  /** Bytes that it says it has; undefined when it does not say. */
  readonly length: number | undefined;
  /** Most bytes that it may have. */
  readonly maxBytes: number;
  /** How long it may send nothing, in ms. */
  readonly idleMs: number;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/**
 * The body of an upload, read no faster than it is taken. Its bytes end without an error, so that
 * all that came is stored; {@link check} then tells why they ended.
 */
export class UploadBody {
  private bytes = 0;
  private failure: unknown;
  /** Ends the wait for the next bytes. */
  private fail: ((error: unknown) => void) | undefined;

  constructor(
    private readonly request: HttpRequest,
    private readonly limits: BodyLimits,
  ) {}

  async *read(): AsyncGenerator<Uint8Array, void, undefined> {
    const { request } = this;
    const { length, maxBytes, idleMs, signal } = this.limits;
    const idle = setTimeout(() => {
      const text = `the upload sent nothing for ${idleMs} ms: go on from Upload-Offset`;
      this.fail?.(new Refusal(text, Code.DeadlineExceeded, 408));
    }, idleMs);
    const stop = () => this.fail?.(signal.reason);
    signal.addEventListener("abort", stop);
    const pieces = bodyOf(request);
    try {
      for (let next = await this.next(pieces); !next.done; next = await this.next(pieces)) {
        const room = Math.min(length ?? maxBytes, maxBytes) - this.bytes;
        const piece = next.value.subarray(0, room);
        this.bytes += piece.length;
        yield piece;
        if (piece.length < next.value.length) {
          throw length === undefined || maxBytes < length
            ? tooLarge(maxBytes)
            : wrong(`the body has more than the ${length} bytes that it said`);
        }
        idle.refresh();
      }
      if (length !== undefined && this.bytes < length) {
        throw wrong(`the body has ${this.bytes} bytes, and said ${length}`);
      }
    } catch (error) {
      this.failure = error;
    } finally {
      clearTimeout(idle);
      signal.removeEventListener("abort", stop);
    }
  }

  /** Throws why the body ended before its end. */
  check(): void {
    if (this.failure !== undefined) {
      throw this.failure;
    }
  }

  private next(pieces: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    return new Promise((resolve, reject) => {
      this.fail = reject;
      if (this.limits.signal.aborted) {
        reject(this.limits.signal.reason);
      }
      pieces.next().then(resolve, reject);
    });
  }
}

/** The error of a Blob that has too many bytes. */
export function tooLarge(maxBytes: number): Refusal {
  return new Refusal(`a Blob may have ${maxBytes} bytes at most`, Code.ResourceExhausted, 413);
}

function wrong(text: string): ConnectError {
  return new ConnectError(text, Code.InvalidArgument);
}
