import { type DescField, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { Output } from "./output.js";

/** Writes a value without a tag. Throws an error that names the field. */
export type WriteScalar = (out: Output, value: unknown, field: DescField) => void;

const scratch = new DataView(new ArrayBuffer(8));
const float32Max = 3.4028234663852886e38;
const two32 = 0x1_0000_0000;

/**
 * The writer of a type of scalars. Values that are not of the usual kind are left to
 * protobuf-es, which takes a few more, such as numbers as strings, and refuses the rest.
 */
export function scalarWriter(type: ScalarType): WriteScalar {
  switch (type) {
    case ScalarType.STRING:
      return (out, value, field) => {
        if (typeof value === "string") {
          out.text(value);
        } else {
          unusual(out, value, field, "string");
        }
      };
    case ScalarType.BYTES:
      return writeBytes;
    case ScalarType.BOOL:
      return (out, value) => out.uint32(value ? 1 : 0);
    case ScalarType.INT32:
      return (out, value, field) => {
        if (typeof value === "number" && value === (value | 0)) {
          out.int32(value);
        } else {
          unusual(out, value, field, "int32");
        }
      };
    case ScalarType.UINT32:
      return (out, value, field) => {
        if (typeof value === "number" && value === value >>> 0) {
          out.uint32(value);
        } else {
          unusual(out, value, field, "uint32");
        }
      };
    case ScalarType.SINT32:
      return (out, value, field) => {
        if (typeof value === "number" && value === (value | 0)) {
          out.uint32(((value << 1) ^ (value >> 31)) >>> 0);
        } else {
          unusual(out, value, field, "sint32");
        }
      };
    case ScalarType.FIXED32:
      return (out, value, field) => {
        if (typeof value === "number" && value === value >>> 0) {
          out.fixed32(value);
        } else {
          unusual(out, value, field, "fixed32");
        }
      };
    case ScalarType.SFIXED32:
      return (out, value, field) => {
        if (typeof value === "number" && value === (value | 0)) {
          out.fixed32(value);
        } else {
          unusual(out, value, field, "sfixed32");
        }
      };
    case ScalarType.FLOAT:
      return (out, value, field) => {
        if (
          typeof value === "number" &&
          !(
            (value > float32Max && value !== Infinity) ||
            (value < -float32Max && value !== -Infinity)
          )
        ) {
          out.float(value);
        } else {
          unusual(out, value, field, "float");
        }
      };
    case ScalarType.DOUBLE:
      return (out, value, field) => {
        if (typeof value === "number") {
          out.double(value);
        } else {
          unusual(out, value, field, "double");
        }
      };
    case ScalarType.INT64:
      return (out, value, field) => {
        if (split(value, true)) {
          out.varint64(low, high);
        } else {
          unusual(out, value, field, "int64");
        }
      };
    case ScalarType.UINT64:
      return (out, value, field) => {
        if (split(value, false)) {
          out.varint64(low, high);
        } else {
          unusual(out, value, field, "uint64");
        }
      };
    case ScalarType.SINT64:
      return (out, value, field) => {
        if (split(value, true)) {
          const sign = high >> 31;
          out.varint64((low << 1) ^ sign, ((high << 1) | (low >>> 31)) ^ sign);
        } else {
          unusual(out, value, field, "sint64");
        }
      };
    case ScalarType.FIXED64:
      return (out, value, field) => {
        if (split(value, false)) {
          out.fixed64(low, high);
        } else {
          unusual(out, value, field, "fixed64");
        }
      };
    case ScalarType.SFIXED64:
      return (out, value, field) => {
        if (split(value, true)) {
          out.fixed64(low, high);
        } else {
          unusual(out, value, field, "sfixed64");
        }
      };
  }
}

const nothing = new Uint8Array(0);

function writeBytes(out: Output, value: unknown, field: DescField): void {
  if (ArrayBuffer.isView(value) && (value as Uint8Array).length === value.byteLength) {
    if (value.byteLength === 0) {
      // Throws when the memory of the array was transferred.
      nothing.set(value as Uint8Array);
    }
    out.uint32(value.byteLength);
    out.raw(value as Uint8Array);
  } else {
    throw failure(field, `expected Uint8Array, got ${typeof value}`);
  }
}

/** The halves of the bigint that was split last. */
let low = 0;
let high = 0;

/** Splits a bigint into halves of 32 bits. False when it is no bigint, or out of range. */
function split(value: unknown, signed: boolean): boolean {
  if (typeof value !== "bigint") {
    return false;
  }
  // Most are small, and numbers are faster than bigints.
  const number = Number(value);
  if (number >= -0x1f_ffff_ffff_ffff && number <= 0x1f_ffff_ffff_ffff) {
    low = number | 0;
    high = Math.floor(number / two32);
    return signed || number >= 0;
  }
  if ((signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value)) !== value) {
    return false;
  }
  scratch.setBigInt64(0, value, true);
  low = scratch.getInt32(0, true);
  high = scratch.getInt32(4, true);
  return true;
}

type Method = Exclude<keyof BinaryWriter, "finish" | "fork" | "join" | "tag" | "raw" | "bytes">;

function unusual(out: Output, value: unknown, field: DescField, method: Method): void {
  let bytes: Uint8Array;
  try {
    bytes = new BinaryWriter()[method](value as never).finish();
  } catch (error) {
    throw failure(field, error instanceof Error ? error.message : String(error));
  }
  out.raw(bytes);
}

function failure(field: DescField, why: string): Error {
  return new Error(`cannot write ${field.toString()}: ${why}`);
}
