import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AnySchema, anyPack, StringValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@jetrpc/runtime";
import { type Msg, MsgHdrsImpl } from "@nats-io/nats-core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../../test/property-runs.js";
import { CallState, type Entry, formatEntry, parseEntry } from "../src/ledger/log.js";
import { SlotTable } from "../src/link/slot-table.js";
import { readDelivery } from "../src/link/stored-message.js";
import { HeaderBlock } from "../src/message/header.js";
import { readMetadata } from "../src/message/metadata.js";
import { decodeStatus, encodeStatus, isStatus } from "../src/message/status.js";
import { bindService } from "../src/schema/bind-service.js";
import { nameCall, parseCallSubject } from "../src/schema/call-id.js";
import { entrySubjectOf, liveSubjectOf, progressSubjectOf } from "../src/schema/call-subjects.js";
import { TestService } from "./gen/test/v1/test_pb.js";

/** A received message with the given header block. */
function received(block: HeaderBlock, data: Uint8Array = new Uint8Array(0)): Msg {
  return { headers: MsgHdrsImpl.decode(block.encode()), data } as unknown as Msg;
}

const binding = bindService(TestService).methods.get("count");
if (!binding) {
  throw new Error("no method count");
}

describe("subjects", () => {
  test("of a call with a given id", () => {
    const call = nameCall("_", "invoice-42");
    expect(`${binding.queueSubject}.${call.suffix}`).toBe(
      "test.v1.TestService.queue.Count._._.invoice-42",
    );
    expect(entrySubjectOf(binding, call)).toBe(
      "test.v1.TestService.log.Count._._.invoice-42.entry",
    );
    expect(progressSubjectOf(binding, call)).toBe(
      "test.v1.TestService.progress.Count._._.invoice-42.progress",
    );
    expect(liveSubjectOf(binding, call)).toBe("test.v1.TestService.live.Count._._.invoice-42.*");
  });

  test("of a call whose id its client made", () => {
    expect(nameCall("acme", "Vd9kXbTn.7").suffix).toBe("acme.Vd9kXbTn.7");
  });

  test("bring the call's name back, whatever it is", () => {
    const token = fc.stringMatching(/^[A-Za-z0-9_=+@:-]{1,128}$/);
    const id = fc.oneof(
      token,
      fc.tuple(token, token).map(([a, b]) => `${a}.${b}`),
    );
    fc.assert(
      fc.property(token, id, (owner, callId) => {
        const call = nameCall(owner, callId);
        const parsed = parseCallSubject(binding.service, `${binding.queueSubject}.${call.suffix}`);
        expect(parsed?.owner).toBe(owner);
        expect(parsed?.suffix).toBe(call.suffix);
      }),
      runs(),
    );
  });

  test.each(["", ".", "_", "_._", "a.b.c.d", "a..b"])("without a call: %j", (suffix) => {
    expect(parseCallSubject(binding.service, `${binding.queueSubject}.${suffix}`)).toBeUndefined();
  });
});

describe("metadata", () => {
  const name = fc
    .stringMatching(/^(trailer-)?[a-z][a-z0-9-]{0,20}$/)
    .filter((n) => !/^(nats-|jetrpc-|content-type$)/.test(n));
  const value = fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/);
  const metadata = fc.dictionary(name, value, { maxKeys: 8 });

  test("arrives as sent, leading and trailing", () => {
    fc.assert(
      fc.property(metadata, metadata, (leading, trailing) => {
        const block = new HeaderBlock()
          .addMetadata(new Headers(leading), "header")
          .addMetadata(new Headers(trailing), "trailer");
        const { headers } = received(block);
        expect(Object.fromEntries(readMetadata(headers))).toEqual({ ...leading });
        expect(Object.fromEntries(readMetadata(headers, "trailer"))).toEqual({ ...trailing });
      }),
      runs(),
    );
  });

  test("cannot pose as a header of NATS or of jetrpc", () => {
    const block = new HeaderBlock().addMetadata(
      new Headers({ "Nats-Msg-Id": "x", "Jetrpc-Entry": "end 1", "x-mine": "y" }),
      "header",
    );
    expect([...(received(block).headers ?? [])].map(([key]) => key)).toEqual(["x-mine"]);
  });
});

describe("a status", () => {
  test("arrives as sent, details and all", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 16 }),
        fc.string({ unit: "binary" }),
        fc.array(fc.string(), { maxLength: 4 }),
        (code, message, details) => {
          const error = new ConnectError(
            message,
            code,
            undefined,
            details.map((text) => ({ desc: StringValueSchema, value: { value: text } })),
          );
          const { headers, payload } = encodeStatus(error);
          const message_ = received(headers, payload);
          expect(isStatus(message_)).toBe(true);
          const decoded = decodeStatus(message_);
          expect(decoded.code).toBe(code);
          expect(decoded.rawMessage).toBe(message);
          expect(decoded.findDetails(StringValueSchema).map((d) => d.value)).toEqual(details);
        },
      ),
      runs(),
    );
  });

  test("is what the protocol's test vector says", () => {
    const { headers, payload } = encodeStatus(new ConnectError("gone", Code.NotFound));
    expect(Buffer.from(payload).toString("hex")).toBe("08051204676f6e65");
    expect(new TextDecoder().decode(headers.encode())).toBe(
      "NATS/1.0\r\nNats-Service-Error-Code: 5\r\nNats-Service-Error: gone\r\n\r\n",
    );
  });

  test("is passed on with details of types that are not known here", () => {
    const packed = anyPack(StringValueSchema, create(StringValueSchema, { value: "x" }));
    const first = new ConnectError("x", Code.Aborted, undefined, [
      { desc: StringValueSchema, value: { value: "x" } },
    ]);
    const once = encodeStatus(first);
    const received1 = decodeStatus(received(once.headers, once.payload));
    const twice = encodeStatus(received1);
    expect([...twice.payload]).toEqual([...once.payload]);
    expect(fromBinary(AnySchema, toBinary(AnySchema, packed)).typeUrl).toContain("StringValue");
  });

  test.each([
    ["an HTTP code", "404", Code.Unknown],
    ["no number", "x", Code.Unknown],
    ["zero", "0", Code.Unknown],
    ["a gRPC code", "7", Code.PermissionDenied],
  ])("of another service with %s and a text can be read", (_what, code, expected) => {
    const block = new HeaderBlock()
      .add("Nats-Service-Error-Code", code)
      .add("Nats-Service-Error", "odd");
    const error = decodeStatus(received(block, new Uint8Array([255, 255, 1])));
    expect([error.code, error.rawMessage]).toEqual([expected, "odd"]);
  });
});

describe("a call log", () => {
  test("folds to the same state, however its entries arrive again", () => {
    const kind = fc.constantFrom("attempt", "message", "retry", "release", "end" as const);
    const log = fc.array(fc.tuple(kind, fc.integer({ min: 1, max: 5 })), { maxLength: 30 });
    fc.assert(
      fc.property(log, fc.nat(), (kinds, seed) => {
        const entries = kinds.map(
          ([k, attempt], i) =>
            ({ kind: k, attempt, delivery: 0, sequence: i + 1 }) as unknown as Entry,
        );
        const once = new CallState();
        const taken = entries.filter((entry) => once.apply(entry));
        expect(taken).toHaveLength(entries.length);
        const again = new CallState();
        for (const [i, entry] of entries.entries()) {
          again.apply(entry);
          // A redelivery of anything that came before changes nothing.
          const earlier = entries[(seed * (i + 1)) % (i + 1)];
          expect(earlier && again.apply(earlier)).toBe(false);
        }
        expect(again).toEqual(once);
      }),
      runs(),
    );
  });

  test("reads its own entries and nothing else", () => {
    for (const kind of ["attempt", "message", "retry", "release", "end"] as const) {
      const claim = { request: 17, delivery: 7 };
      const detail = kind === "attempt" ? claim : kind === "end" ? "failed" : undefined;
      const message = received(new HeaderBlock().add("Jetrpc-Entry", formatEntry(kind, 3, detail)));
      expect(parseEntry(message, 9)).toMatchObject({
        kind,
        attempt: 3,
        claim: kind === "attempt" ? claim : undefined,
        sequence: 9,
      });
    }
    for (const value of [
      "",
      "end",
      "end x",
      "end 1 2",
      "attempt 1",
      "attempt 1 2",
      "END 1",
      "end 1 exploded",
      `message ${"9".repeat(16)}`,
      "other 1",
    ]) {
      const message = received(new HeaderBlock().add("Jetrpc-Entry", value));
      expect(() => parseEntry(message, 1)).toThrow(ConnectError);
    }
  });
});

describe("a delivery", () => {
  test.each(["", "_INBOX.x", "$JS.ACK.S.C.x.17.5.1700000000000000000.0", "$JS.ACK.S.C.1.0.5.1.0"])(
    "is not read from %s",
    (reply) => {
      expect(() => readDelivery({ reply, subject: "s" } as Msg)).toThrow(ConnectError);
    },
  );

  test.each([
    ["$JS.ACK.S.C.3.17.5.1700000000000000000.0"],
    ["$JS.ACK.domain.hash.S.C.3.17.5.1700000000000000000.0"],
    ["$JS.ACK.domain.hash.S.C.3.17.5.1700000000000000000.0.random"],
  ])("is read from %s", (reply) => {
    expect(readDelivery({ reply } as Msg)).toEqual({
      deliveries: 3,
      sequence: 17,
      storedAtMs: 1_700_000_000_000,
    });
  });
});

describe("SlotTable", () => {
  test("holds what a Map would, whatever is added and deleted", () => {
    const step = fc.oneof(
      fc.constant<["add"]>(["add"]),
      fc.tuple(fc.constant("delete" as const), fc.nat(400)),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
        const table = new SlotTable<object>();
        const model = new Map<number, object>();
        const given: number[] = [];
        for (const [kind, index] of steps) {
          if (kind === "add") {
            const item = {};
            const number = table.add(item);
            expect(given).not.toContain(number);
            given.push(number);
            model.set(number, item);
          } else {
            const number = given[index % Math.max(1, given.length)] ?? index;
            table.delete(number);
            model.delete(number);
          }
          expect(table.size).toBe(model.size);
        }
        for (const number of given) {
          expect(table.get(number)).toBe(model.get(number));
        }
        expect(new Set(table.values())).toEqual(new Set(model.values()));
      }),
      runs(200),
    );
  });
});
