import { Code, ConnectError } from "@connectrpc/connect";
import { keep } from "../message/bytes.js";
import { frameCost, frameHeadBytes, initialCredit, minFrameBytes } from "../message/frame.js";
import { PartialMessage } from "./partial-message.js";

/** Most bytes that a sender may be ahead of its reader. */
const maxWindow = 1024 * 1024;

/**
 * Bytes that the windows of all streams of a process share: the server keeps for a connection
 * what it has not read yet, and cuts it above `max_pending`, 64 MB by default.
 */
const sharedWindow = 16 * 1024 * 1024;

/** Least window. */
const minWindow = minFrameBytes;

let open = 0;

/** How many bytes a sender may be ahead of its reader, among so many streams. */
function windowOf(streams: number): number {
  return Math.min(maxWindow, Math.max(minWindow, Math.floor(sharedWindow / streams)));
}

/** The stream as an {@link Inflow} sees it. */
export interface InflowOptions<T> {
  /** Makes a message of its bytes. */
  readonly decode: (bytes: Uint8Array) => T;
  /** Tells the sender how many bytes it may send in all. */
  readonly grant: (bytes: number) => void;
  /** Called once when the reader wants no more. */
  readonly onReturn: () => void;
  /** Called once when a frame cannot be read: the stream is of no use any more. */
  readonly onBroken: (error: ConnectError) => void;
  /** Code of the error when frames are no frames. */
  readonly malformed: Code;
  /** Most bytes that a message may have. */
  readonly readMaxBytes: number;
}

/**
 * The receiving half of a stream: unpacks data frames, and grants the sender as
 * many bytes as were read, so that it is never far ahead of its reader.
 */
export class Inflow<T> implements AsyncIterableIterator<T, undefined> {
  private readonly frames: Uint8Array[] = [];
  /** Read so far of the first frame. */
  private offset = frameHeadBytes;
  private received = 0;
  /** The cost of the frames that were received. */
  private cost = 0;
  /** Bytes of frames that were read to their end. */
  private consumed = 0;
  /** The credit that the sender is given at the start. */
  readonly initial = Math.min(initialCredit, windowOf(++open));
  private granted = this.initial;
  /** The message that goes on in the next frame. */
  private partial: PartialMessage | undefined;
  private readonly readers: Reader<T>[] = [];
  /** Frames that the sender says it has sent, once it has ended. */
  private total: number | undefined;
  private failure: ConnectError | undefined;
  private isClosed = false;
  private isDone = false;

  constructor(private readonly options: InflowOptions<T>) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Takes a data frame. */
  receive(frame: Uint8Array): void {
    if (this.isDone || this.failure || this.total !== undefined) {
      return;
    }
    const number = frameNumber(frame);
    if (number === undefined) {
      this.refuse("a data frame has no number");
      return;
    }
    if (number !== this.received % 2 ** 32) {
      this.break(lostFrames(this.received, number));
      this.serve();
      return;
    }
    // A sender may not have been told yet, or may not know that there is less.
    if (this.cost >= Math.max(this.granted, initialCredit)) {
      this.refuse(`the sender does not wait for credit: it has sent more than ${this.granted}`);
      return;
    }
    this.received++;
    this.cost += frameCost(frame);
    this.frames.push(frame);
    this.serve();
    const last = this.frames.length - 1;
    if (this.frames[last] === frame) {
      // A frame that no reader took at once may wait long.
      this.frames[last] = keep(frame);
    }
  }

  /** The sender has ended, after so many frames; with an error, or well. */
  end(frames: number, error?: ConnectError): void {
    if (this.total !== undefined || this.isDone) {
      return;
    }
    this.total = frames;
    if (error) {
      this.failure ??= error;
    } else if (frames !== this.received) {
      this.break(lostFrames(this.received, frames));
    }
    this.close();
    this.serve();
  }

  /** The sender sends what cannot be read: ends the stream after what its reader has. */
  refuse(why: string): void {
    if (!this.isDone && !this.failure && this.total === undefined) {
      this.break(new ConnectError(why, this.options.malformed));
      this.serve();
    }
  }

  /** Ends the stream with an error after what has arrived. */
  fail(error: ConnectError): void {
    this.failure ??= error;
    this.close();
    this.serve();
  }

  /** Ends the stream with an error at once. */
  abort(error: ConnectError): void {
    this.drop();
    this.fail(error);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.readers.length === 0) {
      try {
        const result = this.take();
        if (result) {
          return Promise.resolve(result);
        }
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return new Promise((resolve, reject) => {
      this.readers.push({ resolve, reject });
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    const wasDone = this.isDone;
    this.finish();
    this.serve();
    if (!wasDone) {
      this.options.onReturn();
    }
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Gives waiting readers what there is. */
  private serve(): void {
    for (let reader = this.readers[0]; reader; reader = this.readers[0]) {
      try {
        const result = this.take();
        if (!result) {
          return;
        }
        this.readers.shift();
        reader.resolve(result);
      } catch (error) {
        this.readers.shift();
        reader.reject(error);
      }
    }
  }

  /** The next message, or the end; undefined when it is yet to arrive. */
  private take(): IteratorResult<T, undefined> | undefined {
    if (this.isDone) {
      return { done: true, value: undefined };
    }
    const bytes = this.takeBytes();
    if (bytes) {
      try {
        return { done: false, value: this.options.decode(bytes) };
      } catch (error) {
        this.break(ConnectError.from(error));
      }
    }
    if (this.failure) {
      this.finish();
      throw this.failure;
    }
    if (this.total !== undefined) {
      if (this.partial) {
        const text = "the stream ended in the middle of a message";
        this.break(new ConnectError(text, this.options.malformed));
        return this.take();
      }
      this.finish();
      return { done: true, value: undefined };
    }
    return undefined;
  }

  private takeBytes(): Uint8Array | undefined {
    for (;;) {
      const frame = this.frames[0];
      if (!frame) {
        return undefined;
      }
      if (this.offset >= frame.length) {
        this.nextFrame(frame);
        continue;
      }
      if (this.partial) {
        this.offset += this.partial.add(frame.subarray(this.offset));
        const { bytes } = this.partial;
        if (!bytes) {
          continue;
        }
        this.partial = undefined;
        return bytes;
      }
      const size = this.readSize(frame);
      if (size === undefined) {
        return undefined;
      }
      const end = this.offset + size;
      if (end <= frame.length) {
        const bytes = frame.subarray(this.offset, end);
        this.offset = end;
        return bytes;
      }
      this.partial = new PartialMessage(size);
    }
  }

  /** Length of the message that begins here; undefined when it is none. */
  private readSize(frame: Uint8Array): number | undefined {
    let size = 0;
    for (let scale = 1; this.offset < frame.length && scale < 2 ** 35; scale *= 0x80) {
      const byte = frame[this.offset++] as number;
      size += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (size <= this.options.readMaxBytes) {
          return size;
        }
        this.break(
          new ConnectError(
            `a message of ${size} bytes is larger than readMaxBytes, ${this.options.readMaxBytes}`,
            Code.ResourceExhausted,
          ),
        );
        return undefined;
      }
    }
    this.break(new ConnectError("the length of a message cannot be read", this.options.malformed));
    return undefined;
  }

  private nextFrame(frame: Uint8Array): void {
    this.frames.shift();
    this.offset = frameHeadBytes;
    this.consumed += frameCost(frame);
    const window = windowOf(open);
    if (this.total === undefined && this.granted - this.consumed <= window / 2) {
      this.granted = this.consumed + window;
      this.options.grant(this.granted);
    }
  }

  private break(error: ConnectError): void {
    this.drop();
    this.failure = error;
    this.close();
    this.options.onBroken(error);
  }

  private drop(): void {
    this.frames.length = 0;
    this.partial = undefined;
  }

  private finish(): void {
    this.isDone = true;
    this.drop();
    this.close();
  }

  /** Takes no more frames, so needs no window. */
  private close(): void {
    if (!this.isClosed) {
      this.isClosed = true;
      open--;
    }
  }
}

interface Reader<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** Number of a data frame; undefined when it has none. */
function frameNumber(frame: Uint8Array): number | undefined {
  const [a, b, c, d] = frame;
  return a === undefined || b === undefined || c === undefined || d === undefined
    ? undefined
    : ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

function lostFrames(expected: number, found: number): ConnectError {
  return new ConnectError(
    `frames of the stream were lost: ${found} came after ${expected} of them`,
    Code.Unavailable,
  );
}
