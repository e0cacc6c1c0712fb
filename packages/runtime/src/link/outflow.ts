import type { ConnectError } from "@connectrpc/connect";
import { frameCost, frameHeadBytes, initialCredit, minFrameBytes } from "../message/frame.js";
import { afterTurn } from "./turn.js";

/**
 * The sending half of a stream: packs messages into data frames, and sends no
 * more than the receiver has granted.
 *
 * A data frame is the number of the frame (32 bits, big-endian) and messages,
 * each after its length as a varint. A message that does not fit goes on in the
 * next frame; a length is never cut. See docs/protocol.md.
 */
export class Outflow {
  /** Data frames sent so far. */
  frames = 0;
  private readonly queue: Uint8Array[] = [];
  /** Bytes of the queue, lengths included, that are not sent yet. */
  private queued = 0;
  /** Bytes of the first message in the queue that are sent already; -1 before its length is. */
  private offset = -1;
  private sent = 0;
  private granted = initialCredit;
  private isTurnOpen = false;
  private wake: (() => void) | undefined;
  private failure: ConnectError | undefined;

  constructor(
    private readonly publish: (frame: Uint8Array) => void,
    private readonly maxFrame: number,
  ) {}

  /** Nothing is written yet, and the receiver may have said what it grants at the start. */
  begin(bytes: number | undefined): void {
    this.granted = bytes ?? initialCredit;
  }

  /**
   * Takes a message. What it returns resolves when there is room for another;
   * nothing is returned when there is room already. Throws what fail() was given.
   */
  write(message: Uint8Array): Promise<void> | undefined {
    if (this.failure) {
      throw this.failure;
    }
    this.queue.push(message);
    this.queued += varintSize(message.length) + message.length;
    if (!this.isTurnOpen) {
      // The first message of a turn leaves at once; what follows goes together.
      this.openTurn();
      this.flush();
    }
    if (this.hasRoom) {
      return undefined;
    }
    this.flush();
    return this.pause();
  }

  /** The receiver grants what data frames may cost in all. */
  grant(bytes: number): void {
    if (bytes > this.granted) {
      this.granted = bytes;
      this.flush();
      if (!this.isTurnOpen && this.hasRoom) {
        this.wake?.();
      }
    }
  }

  /** Resolves when everything is sent. Throws what fail() was given. */
  async drain(): Promise<void> {
    this.flush();
    while (this.queued > 0) {
      await this.pause();
    }
  }

  /** Ends all waiting, and everything after it, with an error. */
  fail(error: ConnectError): void {
    this.failure ??= error;
    this.queue.length = 0;
    this.queued = 0;
    this.wake?.();
  }

  /** No whole frame waits. */
  private get hasRoom(): boolean {
    return this.queued + frameHeadBytes < this.maxFrame;
  }

  private async pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    this.wake = undefined;
    if (this.failure) {
      throw this.failure;
    }
  }

  private openTurn(): void {
    this.isTurnOpen = true;
    afterTurn(() => {
      this.isTurnOpen = false;
      const before = this.frames;
      this.flush();
      if (this.frames > before) {
        this.openTurn();
      }
      if (this.hasRoom) {
        this.wake?.();
      }
    });
  }

  private flush(): void {
    while (this.queued > 0 && this.sent < this.granted) {
      const frame = this.nextFrame();
      this.sent += frameCost(frame);
      this.publish(frame);
    }
  }

  private nextFrame(): Uint8Array {
    // Many streams get little credit each: a frame takes hardly more than there is.
    const credit = Math.max(minFrameBytes, this.granted - this.sent);
    const frame = new Uint8Array(Math.min(this.maxFrame, credit, frameHeadBytes + this.queued));
    const number = this.frames++;
    frame[0] = number >>> 24;
    frame[1] = number >>> 16;
    frame[2] = number >>> 8;
    frame[3] = number;
    let end = frameHeadBytes;
    let taken = 0;
    for (const message of this.queue) {
      if (this.offset < 0) {
        if (end + varintSize(message.length) > frame.length) {
          break;
        }
        end = writeVarint(frame, end, message.length);
        this.offset = 0;
      }
      const size = Math.min(message.length - this.offset, frame.length - end);
      frame.set(
        size === message.length ? message : message.subarray(this.offset, this.offset + size),
        end,
      );
      end += size;
      this.offset += size;
      if (this.offset < message.length) {
        break;
      }
      this.offset = -1;
      taken++;
    }
    this.queue.splice(0, taken);
    this.queued -= end - frameHeadBytes;
    return end === frame.length ? frame : frame.subarray(0, end);
  }
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
    size++;
  }
  return size;
}

function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let end = offset;
  let rest = value;
  while (rest >= 0x80) {
    target[end++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  target[end++] = rest;
  return end;
}
