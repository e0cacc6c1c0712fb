import { Match, type MsgHdrs, MsgHdrsImpl } from "@nats-io/nats-core/internal";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../src/message/header.js";
import { readMetadata } from "../src/message/metadata.js";
import { ReceivedHeaders } from "../src/message/received-headers.js";

const bytes = (text: string) => new TextEncoder().encode(text);

const nameChar = fc
  .integer({ min: 33, max: 126 })
  .map((code) => String.fromCharCode(code))
  .filter((char) => char !== ":");
const name = fc.oneof(
  fc.array(nameChar, { minLength: 1, maxLength: 12 }).map((chars) => chars.join("")),
  // Names that come twice, and differ in case alone.
  fc.constantFrom("Nats-Sequence", "nats-sequence", "traceparent", "tenant", "Tenant"),
);
/** At their ends the NATS client takes off more than `Headers` does: U+00A0, say. */
const value = fc
  .string({ unit: "binary", maxLength: 24 })
  .filter((text) => !/[\r\n]|^[^\S\t ]|[^\S\t ]$/.test(text));
const lines = fc.array(fc.tuple(name, value), { maxLength: 12 });

/** What readers ask of headers. */
function asked(headers: ReceivedHeaders | MsgHdrs, names: readonly string[]) {
  const { code, description } = headers;
  return {
    code,
    description,
    keys: headers.keys(),
    lines: [...headers],
    values: names.map((each) => [headers.get(each), headers.last(each), headers.has(each)]),
    metadata: [...readMetadata(headers as MsgHdrs, "request")],
  };
}

describe("headers that came in", () => {
  test("are read as the NATS client reads them", () => {
    fc.assert(
      fc.property(lines, (all) => {
        const written = new MsgHdrsImpl();
        for (const [key, text] of all) {
          written.append(key, text, Match.Exact);
        }
        const block = written.size() > 0 ? written.encode() : bytes("NATS/1.0\r\n\r\n");
        const names = [...all.map(([key]) => key), "absent"];
        const received = new ReceivedHeaders(block);
        expect(received.defect).toBeUndefined();
        expect(asked(received, names)).toEqual(asked(MsgHdrsImpl.decode(block), names));
      }),
    );
  });

  test.each([
    "NATS/1.0 503\r\n\r\n",
    "NATS/1.0 404 No Messages\r\n\r\n",
    "NATS/1.0 100 FlowControl Request\r\nNats-Last-Stream: 3\r\n\r\n",
    "NATS/1.0  409   Consumer Deleted \r\n\r\n",
    "NATS/1.0 408 Request\nTimeout\r\nlate: x\r\n\r\n",
    "NATS/1.0\r\nno line\r\nlate: x\r\n\r\n",
    "NATS/1.0\r\n\r\n",
    "NATS/1.0",
  ])("have the status of %j as the NATS client reads it", (text) => {
    const names = ["late", "Nats-Last-Stream"];
    const block = bytes(text);
    expect(asked(new ReceivedHeaders(block), names)).toEqual(
      asked(MsgHdrsImpl.decode(block), names),
    );
  });

  test("of any bytes are read without a throw", () => {
    const piece = fc.oneof(
      fc.constantFrom("NATS/1.0", "\r\n", "\r", "\n", ":", " ", "a", "Nats-Sequence: 7"),
      fc.string({ unit: "binary", maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
        const received = new ReceivedHeaders(bytes(pieces.join("")));
        for (const key of received.keys()) {
          expect(received.has(key)).toBe(true);
          expect(received.get(key)).not.toMatch(/[\r\n]/);
        }
      }),
    );
  });

  test("with a line that none may send keep the others, and tell the first defect", () => {
    const received = new ReceivedHeaders(
      bytes("NATS/1.0\r\na: 1\r\nbad name: x\r\nb: 2\nc: 3\r\nd: 4\r\n\r\n"),
    );
    expect(received.defect).toBe(
      "line 2 of its headers has a character in its name that none may have (0x20)",
    );
    expect([...received]).toEqual([
      ["a", ["1"]],
      ["d", ["4"]],
    ]);
    expect(new ReceivedHeaders(bytes("NATS/1.0\r\nb: 2\nc\r\n\r\n")).defect).toBe(
      "line 1 of its headers has a line break in its value (0x0a)",
    );
  });

  test("of too many lines or bytes keep the last, which the server has added", () => {
    const many = Array.from({ length: 600 }, (_, index) => `x${index}: 1\r\n`).join("");
    const full = new ReceivedHeaders(bytes(`NATS/1.0\r\n${many}Nats-Sequence: 7\r\n\r\n`));
    expect(full.defect).toBe("it has more than 512 header lines");
    expect([full.keys().length, full.get("Nats-Sequence")]).toEqual([512, "7"]);
    const long = new ReceivedHeaders(
      bytes(`NATS/1.0\r\nx: ${"y".repeat(70_000)}\r\nNats-Sequence: 7\r\n\r\n`),
    );
    expect(long.defect).toMatch(/^its header block has 7\d{4} bytes, more than 66560$/);
    expect(long.get("Nats-Sequence")).toBe("7");
  });

  // A pattern that tried each part of the digits took 13 s for it: one message stopped a worker.
  test("whose status has no end are read at once", () => {
    const digits = "1".repeat(65_000);
    const received = new ReceivedHeaders(bytes(`NATS/1.0 ${digits}\n\r\nlate: x\r\n\r\n`));
    expect([received.get("late"), received.description]).toEqual(["x", ""]);
  });

  test("keep the spaces at the ends of a value that Headers keeps", () => {
    const ends = ["\u00a0", "\u000b", "\u000c", "\u0085", " ", "\t", " \u00a0 "];
    for (const end of ends) {
      const given = new Headers({ x: `${end}a \u00a0 b${end}` });
      const block = new HeaderBlock().addMetadata(given, "request").encode();
      const read = readMetadata(new ReceivedHeaders(block) as unknown as MsgHdrs, "request");
      expect([...read]).toEqual([...given]);
    }
    const spaced = new ReceivedHeaders(bytes(`NATS/1.0\r\nx: a${" ".repeat(60_000)}b \r\n\r\n`));
    expect(spaced.get("x")).toHaveLength(60_002);
  });

  // nats CLI, nats.go, nats.py, nats.rs: no blank or several after the colon, empty values, any letters.
  test("of other clients are read as the NATS client reads them", () => {
    const block = bytes(
      "NATS/1.0\r\na:1\r\nb:\r\nc:   3\t\r\nA: 4\r\na:  5: 6\r\nd: \u00a3 \u{1f600}\r\n: 7\r\n\r\n",
    );
    const received = new ReceivedHeaders(block);
    expect(received.defect).toBeUndefined();
    const names = ["a", "b", "c", "A", "d"];
    const { metadata } = asked(received, names);
    expect(metadata).toEqual(asked(MsgHdrsImpl.decode(block), names).metadata);
    expect([...received]).toEqual([
      ["a", ["1", "5: 6"]],
      ["b", [""]],
      ["c", ["3"]],
      ["A", ["4"]],
      ["d", ["\u00a3 \u{1f600}"]],
    ]);
  });
});
