import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { parse } from "../src/decode.js";
import { encode } from "../src/encode.js";
import { difference } from "./same.js";
import { type Choice, oneOf, someSchemas, sometimes } from "./schemas.js";
import { someInit } from "./values.js";

/** Numbers by chance; the same seed has the same numbers. */
export function chance(seed: number): Choice {
  let state = seed | 0 || 1;
  return {
    int(min, max) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return min + ((state >>> 0) % (max - min + 1));
    },
  };
}

/** Types, each with some messages of it. */
export function someCorpus(choice: Choice, schemas = someSchemas(choice)): Corpus {
  return schemas.map((schema) => ({
    schema,
    messages: Array.from({ length: 6 }, () => written(schema, someInit(choice, schema))),
  }));
}

export type Corpus = readonly { schema: DescMessage; messages: readonly Uint8Array[] }[];

/** Bytes of a message; none when a field is required and not set. */
function written(schema: DescMessage, init: Record<string, unknown>): Uint8Array {
  try {
    return toBinary(schema, create(schema, init));
  } catch {
    return new Uint8Array(0);
  }
}

/** Bytes of a message of the corpus, which some changes made another one, or none. */
export function mutated(choice: Choice, corpus: Corpus, of: Corpus[number]): Uint8Array {
  let bytes = [...oneOf(choice, of.messages)];
  const changes = choice.int(1, 4);
  for (let i = 0; i < changes; i++) {
    bytes = change(choice, bytes, corpus, of);
  }
  return new Uint8Array(bytes.slice(0, 4000));
}

function change(choice: Choice, bytes: number[], corpus: Corpus, of: Corpus[number]): number[] {
  const at = choice.int(0, bytes.length);
  const to = Math.min(bytes.length, at + choice.int(0, 12));
  const other = () => [...oneOf(choice, oneOf(choice, corpus).messages)].slice(0, 300);
  switch (choice.int(0, 9)) {
    case 0:
      return bytes.slice(0, at);
    case 1:
      return [...bytes.slice(0, at), choice.int(0, 255), ...bytes.slice(at + 1)];
    case 2:
      return [...bytes.slice(0, at), ...bytes.slice(to)];
    case 3:
      return [...bytes, ...bytes.slice(at)].slice(0, 3000);
    case 4:
      return [...bytes.slice(0, at), ...bytes.slice(at, to), ...bytes.slice(at)];
    case 5:
      return [...bytes, ...other()];
    case 6:
      return [...bytes.slice(0, at), ...other(), ...bytes.slice(at)];
    case 7:
      return [...bytes.slice(0, at), ...varint(choice), ...bytes.slice(at)];
    case 8:
      return [...bytes, ...field(choice, of.schema)];
    default:
      return [...bytes.slice(0, at), ...field(choice, of.schema), ...bytes.slice(at)];
  }
}

/** A field that the type may have, of any wire type. */
function field(choice: Choice, { fields }: DescMessage): number[] {
  const number =
    fields.length === 0 || sometimes(choice, 4) ? choice.int(1, 40) : oneOf(choice, fields).number;
  const wireType = choice.int(0, 5);
  const tag = unsigned(number * 8 + wireType);
  switch (wireType) {
    case 0:
      return [...tag, ...varint(choice)];
    case 1:
      return [...tag, ...some(choice, 8)];
    case 5:
      return [...tag, ...some(choice, 4)];
    case 2: {
      const content = some(choice, choice.int(0, 9));
      return [...tag, content.length, ...content];
    }
    case 3: {
      const inner = sometimes(choice, 2) ? field(choice, { fields } as DescMessage) : [];
      return [...tag, ...inner, ...unsigned(number * 8 + 4)];
    }
    default:
      return tag;
  }
}

function varint(choice: Choice): number[] {
  const length = choice.int(0, 11);
  return [...Array.from({ length }, () => choice.int(128, 255)), choice.int(0, 127)];
}

function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...unsigned(Math.floor(value / 128))];
}

const some = (choice: Choice, length: number): number[] =>
  Array.from({ length }, () => choice.int(0, 255));

/**
 * Undefined when bytes are to us what they are to protobuf-es: refused by both, or the same
 * message, which both write alike. Otherwise it says what differs.
 */
export function disagreement(
  schema: DescMessage,
  bytes: Uint8Array,
  count: { read: number; refused: number },
): string | undefined {
  const theirs = attempt(() => fromBinary(schema, bytes));
  count[theirs.value ? "read" : "refused"]++;
  for (const copies of [false, true]) {
    const ours = attempt(() => parse(schema, bytes, copies));
    if (theirs.value === undefined || ours.value === undefined) {
      if (theirs.value !== ours.value) {
        return `protobuf-es: ${theirs.error ?? "reads it"}; we: ${ours.error ?? "read it"}`;
      }
      continue;
    }
    const found = difference(theirs.value, ours.value);
    if (found !== undefined) {
      return found;
    }
    const [wrote, write] = [theirs.value, ours.value].map((message, side) =>
      attempt(() => Buffer.from((side ? encode : toBinary)(schema, message)).toString("hex")),
    );
    if (wrote?.value !== write?.value || wrote?.error !== write?.error) {
      return `protobuf-es writes ${wrote?.value ?? wrote?.error}; we ${write?.value ?? write?.error}`;
    }
  }
  return undefined;
}

function attempt<T>(action: () => T): { value?: T; error?: string } {
  try {
    return { value: action() };
  } catch (error) {
    return { error: String(error) };
  }
}
