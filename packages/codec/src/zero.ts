import { create, type DescMessage } from "@bufbuild/protobuf";

/** A message, or what one is made from, by the names of its fields. */
export type Values = Record<string, unknown>;

/** Makes messages without a field, of one type. */
export interface Zero {
  make(): Values;
  /** The fields of bytes that each message has: they hold `noBytes` at first. */
  readonly bytes: readonly string[];
}

/** `make` leaves this array in fields of bytes. Each message is to have an array of its own instead. */
export const noBytes: Uint8Array = new Uint8Array(0);

type Room = Record<string, unknown> & { [name in Letter]?: 0 };
type Letter = "a" | "b" | "c" | "d" | "e" | "f" | "g" | "h" | "i" | "j" | "k" | "l" | Letters;
type Letters = "m" | "n" | "o" | "p" | "q" | "r" | "s" | "t" | "u" | "v" | "w" | "x";

enum Kind {
  Value = 0,
  List = 1,
  Map = 2,
  Oneof = 3,
}

/**
 * Which properties a message without a field has, and its prototype, is learned from one that
 * protobuf-es makes. All messages that the constructor makes share a hidden class.
 */
export function zeroOf(schema: DescMessage): Zero {
  const template = create(schema) as unknown as Values;
  const names = Object.keys(template);
  const bytes = names.filter((name) => template[name] instanceof Uint8Array);
  const values = names.map((name) => (bytes.includes(name) ? noBytes : template[name]));
  const kinds = values.map(kindOf);
  function MessageOfType(this: Room, room?: 0): void {
    if (room !== undefined) {
      // Nobody gets here. V8 reserves room in an object for as many properties as it sees set
      // in its constructor: with 40 that are not foreseen it would be a slow dictionary.
      this.a = this.b = this.c = this.d = this.e = this.f = this.g = this.h = room;
      this.i = this.j = this.k = this.l = this.m = this.n = this.o = this.p = room;
      this.q = this.r = this.s = this.t = this.u = this.v = this.w = this.x = room;
    }
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      const kind = kinds[i];
      if (kind === Kind.Value) {
        this[name] = values[i];
      } else if (kind === Kind.List) {
        this[name] = [];
      } else {
        this[name] = kind === Kind.Map ? {} : { case: undefined };
      }
    }
  }
  MessageOfType.prototype = Object.getPrototypeOf(template);
  const Constructor = MessageOfType as unknown as new () => Values;
  return { make: () => new Constructor(), bytes };
}

function kindOf(value: unknown): Kind {
  if (typeof value !== "object" || value instanceof Uint8Array || value === null) {
    return Kind.Value;
  }
  if (Array.isArray(value)) {
    return Kind.List;
  }
  return "case" in value ? Kind.Oneof : Kind.Map;
}
