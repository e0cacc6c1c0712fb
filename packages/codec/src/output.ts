import { getTextEncoding } from "@bufbuild/protobuf/wire";

/** Size of the buffer at first. */
const bufferSize = 16 * 1024;

/** A larger buffer is given up when its message ends. */
const keptSize = 1024 * 1024;

/** From this size on bytes are not copied until the size of the whole message is known. */
const largeSize = 2048;

/** A string of so few UTF-16 units has a length of one byte in front, and is written by a loop. */
const shortText = 24;

/** A string of more units is made into bytes of its own, which are then large bytes. */
const longText = 4096;

/** Bytes that are put between those of an output when it ends. */
interface Insert {
  at: number;
  readonly bytes: Uint8Array;
}

/**
 * All that is written so far: one buffer that grows and is used again, and large bytes beside it,
 * which are copied once, when the size of all is known.
 */
export class Output {
  bytes: Uint8Array;
  view: DataView;
  at = 0;
  /** Where the message begins that is being written: what stands before is given out. */
  private start = 0;
  private inserts: Insert[] = [];
  /** How many bytes the inserts have together. */
  inserted = 0;

  constructor(size = bufferSize) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  /** All that was written, in memory of its own. The output is empty afterwards. */
  finish(): Uint8Array {
    const all = this.joined();
    if (this.bytes.length > keptSize) {
      this.startOver();
    }
    return all;
  }

  private joined(): Uint8Array {
    const { bytes, at, start, inserts } = this;
    this.at = start;
    if (inserts.length === 0) {
      return bytes.slice(start, at);
    }
    const all = unfilled(at - start + this.inserted);
    this.inserts = [];
    this.inserted = 0;
    let from = start;
    let to = 0;
    for (const insert of inserts) {
      all.set(bytes.subarray(from, insert.at), to);
      to += insert.at - from;
      from = insert.at;
      all.set(insert.bytes, to);
      to += insert.bytes.length;
    }
    all.set(bytes.subarray(from, at), to);
    if (to + at - from !== all.length) {
      // A getter of a later field can shrink them: then the rest is memory of anything.
      throw new Error("a field of bytes changed while its message was written");
    }
    return all;
  }

  /** The same, but a small message is a part of a buffer that others share. */
  finishShared(): Uint8Array {
    const { bytes, at, start, inserts } = this;
    if (inserts.length > 0 || at - start > largeSize) {
      return this.finish();
    }
    if (at + largeSize <= bytes.length && bytes.length <= bufferSize) {
      this.start = at;
      return bytes.subarray(start, at);
    }
    // Of a large buffer little would be kept with much.
    const all = bytes.length <= bufferSize ? bytes.subarray(start, at) : bytes.slice(start, at);
    this.startOver();
    return all;
  }

  /** Goes on in a new buffer, with nothing in it. */
  private startOver(): void {
    this.start = 0;
    this.at = 0;
    this.renew(bufferSize);
  }

  /** Makes room for so many bytes more. */
  reserve(count: number): void {
    if (this.at + count > this.bytes.length) {
      this.renew(Math.max(this.bytes.length * 2, this.at + count));
    }
  }

  /** Goes on in another buffer, with what is written of the message. */
  private renew(size: number): void {
    const { start, at } = this;
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(start, at), start);
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }

  /** A varint of 32 bits without a sign. */
  uint32(value: number): void {
    this.reserve(5);
    const { bytes } = this;
    let { at } = this;
    let rest = value;
    while (rest > 0x7f) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at++] = rest;
    this.at = at;
  }

  /** A varint of 64 bits. */
  varint64(low: number, high: number): void {
    this.reserve(10);
    const { bytes } = this;
    let { at } = this;
    let lo = low >>> 0;
    let hi = high >>> 0;
    while (hi !== 0) {
      bytes[at++] = (lo & 0x7f) | 0x80;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    while (lo > 0x7f) {
      bytes[at++] = (lo & 0x7f) | 0x80;
      lo >>>= 7;
    }
    bytes[at++] = lo;
    this.at = at;
  }

  int32(value: number): void {
    if (value >= 0) {
      this.uint32(value);
    } else {
      this.varint64(value, -1);
    }
  }

  fixed32(value: number): void {
    this.reserve(4);
    this.view.setInt32(this.at, value, true);
    this.at += 4;
  }

  float(value: number): void {
    this.reserve(4);
    this.view.setFloat32(this.at, value, true);
    this.at += 4;
  }

  double(value: number): void {
    this.reserve(8);
    this.view.setFloat64(this.at, value, true);
    this.at += 8;
  }

  fixed64(low: number, high: number): void {
    this.reserve(8);
    this.view.setInt32(this.at, low, true);
    this.view.setInt32(this.at + 4, high, true);
    this.at += 8;
  }

  raw(value: Uint8Array): void {
    const { length } = value;
    if (length >= largeSize) {
      this.inserts.push({ at: this.at, bytes: value });
      this.inserted += length;
      return;
    }
    this.reserve(length);
    const { bytes, at } = this;
    if (length < 32) {
      for (let i = 0; i < length; i++) {
        bytes[at + i] = value[i] as number;
      }
    } else {
      bytes.set(value, at);
    }
    this.at = at + length;
  }

  /** A string with its length in front. A surrogate alone becomes U+FFFD, as TextEncoder does it. */
  text(value: string): void {
    if (value.length <= shortText) {
      this.reserve(1 + 3 * shortText);
      const start = this.at;
      const end = writeUtf8(value, this.bytes, start + 1);
      this.bytes[start] = end - start - 1;
      this.at = end;
    } else {
      this.longerText(value);
    }
  }

  private longerText(value: string): void {
    const { length } = value;
    if (length > longText || typeof TextEncoder === "undefined") {
      const bytes = getTextEncoding().encodeUtf8(value);
      this.uint32(bytes.length);
      this.raw(bytes);
      return;
    }
    this.reserve(5 + 3 * length);
    const width = length < 0x80 ? 1 : 2;
    const start = this.open(width);
    encoder ??= new TextEncoder();
    this.at += encoder.encodeInto(value, this.bytes.subarray(start)).written;
    this.close(start, this.inserted, width);
  }

  /** Leaves `width` bytes for the length of what follows, and returns where that begins. */
  open(width: number): number {
    this.reserve(width);
    this.at += width;
    return this.at;
  }

  /**
   * Writes the length of what came after `open` returned `start`, when as many bytes as
   * `before` were inserted. Returns how many bytes the length has: whoever opens the next
   * one with this width spares it a move.
   */
  close(start: number, before: number, width: number): number {
    let length = this.at - start + this.inserted - before;
    const needed = length < 0x80 ? 1 : varintSize(length);
    if (needed !== width) {
      this.move(start, needed - width);
    }
    const { bytes } = this;
    let at = start - width;
    while (length > 0x7f) {
      bytes[at++] = (length & 0x7f) | 0x80;
      length = Math.floor(length / 0x80);
    }
    bytes[at] = length;
    return needed;
  }

  /** Moves what was written from `start` on, and what is to be inserted there. */
  private move(start: number, by: number): void {
    if (by > 0) {
      this.reserve(by);
    }
    this.bytes.copyWithin(start + by, start, this.at);
    this.at += by;
    const { inserts } = this;
    for (let i = inserts.length - 1; i >= 0; i--) {
      const insert = inserts[i] as Insert;
      if (insert.at < start) {
        break;
      }
      insert.at += by;
    }
  }
}

/** Node's, where it is: its memory is not filled with zeros. Pages may have a Buffer with less. */
const { Buffer: nodeBuffer } = globalThis as {
  readonly Buffer?: { allocUnsafeSlow?(size: number): Uint8Array };
};

/** Memory of its own, of which all will be written: zeros would take as long as the bytes. */
function unfilled(size: number): Uint8Array {
  return nodeBuffer?.allocUnsafeSlow
    ? new Uint8Array(nodeBuffer.allocUnsafeSlow(size).buffer)
    : new Uint8Array(size);
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) {
    size++;
  }
  return size;
}

let encoder: InstanceType<typeof TextEncoder> | undefined;

/** Writes a string, and returns where it ends. */
function writeUtf8(text: string, bytes: Uint8Array, start: number): number {
  let at = start;
  const { length } = text;
  for (let i = 0; i < length; i++) {
    let unit = text.charCodeAt(i);
    if (unit < 0x80) {
      bytes[at++] = unit;
      continue;
    }
    if (unit < 0x800) {
      bytes[at++] = 0xc0 | (unit >> 6);
      bytes[at++] = 0x80 | (unit & 0x3f);
      continue;
    }
    if (unit >= 0xd800 && unit < 0xe000) {
      const next = unit < 0xdc00 && i + 1 < length ? text.charCodeAt(i + 1) : 0;
      if (next >= 0xdc00 && next < 0xe000) {
        i++;
        unit = 0x10000 + ((unit & 0x3ff) << 10) + (next & 0x3ff);
        bytes[at++] = 0xf0 | (unit >> 18);
        bytes[at++] = 0x80 | ((unit >> 12) & 0x3f);
        bytes[at++] = 0x80 | ((unit >> 6) & 0x3f);
        bytes[at++] = 0x80 | (unit & 0x3f);
        continue;
      }
      unit = 0xfffd;
    }
    bytes[at++] = 0xe0 | (unit >> 12);
    bytes[at++] = 0x80 | ((unit >> 6) & 0x3f);
    bytes[at++] = 0x80 | (unit & 0x3f);
  }
  return at;
}
