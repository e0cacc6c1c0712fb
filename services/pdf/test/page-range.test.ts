import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../../test/property-runs.js";
import { PageSelection } from "../src/page-range.js";

const select = (ranges: { first: number; last: number }[], pageCount: number) => [
  ...PageSelection.of(ranges, pageCount).pages(),
];

describe("PageSelection", () => {
  test("holds all pages when no range is given", () => {
    expect(select([], 3)).toEqual([1, 2, 3]);
  });

  test("goes to the last page when a range ends with 0", () => {
    expect(select([{ first: 2, last: 0 }], 4)).toEqual([2, 3, 4]);
  });

  test("keeps the order of the ranges, and pages that come twice", () => {
    const ranges = [
      { first: 3, last: 4 },
      { first: 1, last: 3 },
    ];
    expect(select(ranges, 4)).toEqual([3, 4, 1, 2, 3]);
  });

  test("skips pages from the start, whatever the ranges", () => {
    const range = fc
      .tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }))
      .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
    fc.assert(
      fc.property(fc.array(range), fc.nat(100), (ranges, skip) => {
        const selection = PageSelection.of(ranges, 20);
        const all = [...selection.pages()];
        expect(selection.length).toBe(all.length);
        expect([...selection.pages(skip)]).toEqual(all.slice(skip));
      }),
      runs(),
    );
  });

  test.each([
    [{ first: 0, last: 2 }, "page 0 does not exist: the document has pages 1 to 9"],
    [{ first: -1, last: 2 }, "page -1 does not exist: the document has pages 1 to 9"],
    [{ first: 10, last: 0 }, "page 10 does not exist: the document has pages 1 to 9"],
    [{ first: 9, last: 10 }, "page 10 does not exist: the document has pages 1 to 9"],
    [{ first: 2, last: -1 }, "page -1 does not exist: the document has pages 1 to 9"],
  ])("refuses %o, which is outside of the document", (range, message) => {
    expect(() => select([range], 9)).toThrow(
      expect.objectContaining({ code: "OutOfRange", message }),
    );
  });

  test("refuses a range that ends before it begins", () => {
    expect(() => select([{ first: 3, last: 2 }], 9)).toThrow(
      expect.objectContaining({
        code: "InvalidArgument",
        message: "the page range 3 to 2 ends before it begins: swap its pages",
      }),
    );
  });
});
