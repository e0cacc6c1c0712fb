import type { PageRange } from "./job.js";
import { PdfError } from "./pdf-error.js";

/** Page ranges of a document, checked. Pages are counted from 1. */
export class PageSelection {
  /** How many pages the ranges hold in all. */
  readonly length: number;

  private constructor(private readonly ranges: readonly PageRange[]) {
    this.length = ranges.reduce((sum, range) => sum + range.last - range.first + 1, 0);
  }

  /**
   * Checks ranges against a document. No ranges means all its pages.
   *
   * Errors: OutOfRange for a page that does not exist, InvalidArgument for a
   * range that ends before it begins.
   */
  static of(ranges: readonly PageRange[], pageCount: number): PageSelection {
    const wanted = ranges.length === 0 ? [{ first: 1, last: 0 }] : ranges;
    return new PageSelection(wanted.map((range) => checkRange(range, pageCount)));
  }

  /** The pages in order, without the first `skip` of them. */
  *pages(skip = 0): Generator<number> {
    let left = skip;
    for (const { first, last } of this.ranges) {
      const size = last - first + 1;
      for (let page = first + Math.min(left, size); page <= last; page++) {
        yield page;
      }
      left = Math.max(0, left - size);
    }
  }

  /** The ranges, none of which ends with 0. */
  *parts(skip = 0): Generator<PageRange> {
    yield* this.ranges.slice(skip);
  }
}

function checkRange({ first, last }: PageRange, pageCount: number): PageRange {
  const end = last === 0 ? pageCount : last;
  for (const page of [first, end]) {
    if (page < 1 || page > pageCount) {
      throw new PdfError(
        "OutOfRange",
        `page ${page} does not exist: the document has pages 1 to ${pageCount}`,
      );
    }
  }
  if (first > end) {
    throw new PdfError(
      "InvalidArgument",
      `the page range ${first} to ${end} ends before it begins: swap its pages`,
    );
  }
  return { first, last: end };
}
