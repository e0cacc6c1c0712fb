import { getTextEncoding, WireType } from "@bufbuild/protobuf/wire";

const shortText = 24;
const two32 = 0x1_0000_0000;

/** Says little, as nobody sees it: `decode` lets protobuf-es read refused bytes once more. */
export function malformed(what: string): Error {
  return new Error(`malformed ${what}`);
}

/** Bytes that are read from the front to the end. */
export class Input {
  readonly bytes: Uint8Array;
  /** Whether bytes of a field get memory of their own. */
  readonly copies: boolean;
  /** How many messages within each other may still begin. */
  depth = 100;
  at = 0;
  /** The higher half of the number of 64 bits that was read last. */
  high = 0;
  private dataView: DataView | undefined;

  constructor(bytes: Uint8Array, copies: boolean) {
    this.bytes = bytes;
    this.copies = copies;
  }

  private get view(): DataView {
    const { buffer, byteOffset, byteLength } = this.bytes;
    this.dataView ??= new DataView(buffer, byteOffset, byteLength);
    return this.dataView;
  }

  /** The number and the wire type of a field. */
  tag(): number {
    const first = this.bytes[this.at] as number;
    if (first < 0x80) {
      this.at++;
      if (first < 8 || (first & 7) > 5) {
        throw malformed("tag");
      }
      return first;
    }
    const start = this.at;
    const tag = this.uint32();
    const size = this.at - start;
    if (
      size > 5 ||
      (size === 5 && (this.bytes[this.at - 1] as number) > 0x0f) ||
      tag < 8 ||
      (tag & 7) > 5
    ) {
      throw malformed("tag");
    }
    return tag;
  }

  /** The lower 32 bits of a varint. */
  uint32(): number {
    const { bytes } = this;
    let { at } = this;
    let byte = bytes[at++] as number;
    if (byte < 0x80) {
      this.at = at;
      return byte;
    }
    let value = byte & 0x7f;
    for (let shift = 7; shift < 70; shift += 7) {
      // Beyond the end there is undefined.
      byte = bytes[at++] as number;
      if (shift < 32) {
        value |= (byte & 0x7f) << shift;
      }
      if (byte < 0x80) {
        this.at = at;
        return value >>> 0;
      }
      if (byte === undefined) {
        break;
      }
    }
    throw malformed("varint");
  }

  /** The lower half of a varint of 64 bits; `high` has the other one. */
  varint64(): number {
    const { bytes } = this;
    let { at } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) {
        low |= bits << shift;
      } else if (shift === 28) {
        low |= bits << 28;
        high = bits >> 4;
      } else {
        high |= bits << (shift - 32);
      }
      if (byte < 0x80) {
        this.at = at;
        this.high = high;
        return low;
      }
      if (byte === undefined) {
        break;
      }
    }
    throw malformed("varint");
  }

  bool(): boolean {
    const byte = this.bytes[this.at] as number;
    if (byte < 0x80) {
      this.at++;
      return byte !== 0;
    }
    return this.varint64() !== 0 || this.high !== 0;
  }

  fixed32(): number {
    const at = this.advance(4);
    return this.view.getUint32(at, true);
  }

  sfixed32(): number {
    const at = this.advance(4);
    return this.view.getInt32(at, true);
  }

  float(): number {
    const at = this.advance(4);
    return this.view.getFloat32(at, true);
  }

  double(): number {
    const at = this.advance(8);
    return this.view.getFloat64(at, true);
  }

  fixed64(): bigint {
    const at = this.advance(8);
    return this.view.getBigUint64(at, true);
  }

  sfixed64(): bigint {
    const at = this.advance(8);
    return this.view.getBigInt64(at, true);
  }

  int64(): bigint {
    const low = this.varint64();
    return signed(low, this.high);
  }

  uint64(): bigint {
    const low = this.varint64();
    const high = this.high >>> 0;
    return high <= 0x1f_ffff ? BigInt(high * two32 + (low >>> 0)) : wide(low, high, false);
  }

  sint64(): bigint {
    const low = this.varint64();
    const { high } = this;
    const sign = -(low & 1);
    return signed(((low >>> 1) | (high << 31)) ^ sign, (high >>> 1) ^ sign);
  }

  /** Steps over so many bytes, and returns where they begin. */
  private advance(count: number): number {
    const { at } = this;
    const end = at + count;
    if (end > this.bytes.length) {
      throw malformed("end");
    }
    this.at = end;
    return at;
  }

  /** Bytes with their length in front. */
  blob(): Uint8Array {
    const length = this.uint32();
    const start = this.advance(length);
    return this.part(start, start + length);
  }

  private part(start: number, end: number): Uint8Array {
    const part = this.bytes.subarray(start, end);
    return this.copies ? new Uint8Array(part) : part;
  }

  text(strict: boolean): string {
    const length = this.uint32();
    const start = this.advance(length);
    const { bytes } = this;
    if (length <= shortText) {
      let text = "";
      for (let i = start; ; i++) {
        if (i === start + length) {
          return text;
        }
        const byte = bytes[i] as number;
        if (byte >= 0x80) {
          break;
        }
        text += String.fromCharCode(byte);
      }
    }
    return getTextEncoding().decodeUtf8(bytes.subarray(start, start + length), strict);
  }

  /** Reads the value of a field that is not known: `depth` groups may be within each other. */
  unknown(tag: number, depth: number): Uint8Array {
    const start = this.at;
    this.skip(tag, depth);
    return this.part(start, this.at);
  }

  private skip(tag: number, depth: number): void {
    switch (tag & 7) {
      case WireType.Varint:
        while ((this.bytes[this.at++] as number) >= 0x80) {
          // A varint that nobody reads may be of any length.
        }
        break;
      case WireType.Bit64:
        this.at += 8;
        break;
      case WireType.Bit32:
        this.at += 4;
        break;
      case WireType.LengthDelimited: {
        const length = this.uint32();
        this.at += length;
        break;
      }
      case WireType.StartGroup: {
        if (depth <= 0) {
          throw malformed("depth");
        }
        let inner = this.tag();
        while ((inner & 7) !== WireType.EndGroup) {
          this.skip(inner, depth - 1);
          inner = this.tag();
        }
        if (inner >>> 3 !== tag >>> 3) {
          throw malformed("end of group");
        }
        break;
      }
      default:
        throw malformed("end of group");
    }
    if (this.at > this.bytes.length) {
      throw malformed("end");
    }
  }
}

const scratch = new DataView(new ArrayBuffer(8));

function signed(low: number, high: number): bigint {
  // Numbers that are exact are faster than bigints.
  if (high >= -0x20_0000 && high < 0x20_0000) {
    return BigInt(high * two32 + (low >>> 0));
  }
  return wide(low, high, true);
}

function wide(low: number, high: number, isSigned: boolean): bigint {
  scratch.setInt32(0, low, true);
  scratch.setInt32(4, high, true);
  return isSigned ? scratch.getBigInt64(0, true) : scratch.getBigUint64(0, true);
}
