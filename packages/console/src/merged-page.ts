import type { CallFilter, ListedCall } from "@jetrpc/runtime/operator";
import { invalid } from "./invalid.js";
import type { Operated } from "./target.js";

/** A call, and its service. */
export interface FoundCall {
  readonly service: string;
  readonly call: ListedCall;
}

/** A page of the calls of several services. */
export interface MergedPage {
  readonly calls: readonly FoundCall[];
  readonly nextPageToken: string;
  readonly lookedBackTo: Date | undefined;
  /** Requests and entries of logs that were read, and those that could not be looked into. */
  readonly looked: number;
  readonly unread: number;
}

/** Where the list of a service goes on. */
interface Cursor {
  /** Token of the page that is read; empty for the first one. */
  readonly token: string;
  /** Its last call that was listed: when, and which. */
  readonly atMs?: number;
  readonly id?: string;
  /** Nothing follows. */
  readonly isOver?: boolean;
}

/**
 * Merges the lists of services, the newest first. A page of one service may reach further back
 * than that of another: what is newer than the end of all of them is listed, and the rest is read again
 * for the next page. Throws InvalidArgument for a token that is none.
 */
export async function readMergedPage(
  operators: readonly Operated[],
  filter: CallFilter,
  pageSize: number,
  pageToken: string,
): Promise<MergedPage> {
  const cursors = pageToken === "" ? {} : readCursors(pageToken);
  const pages = await Promise.all(
    operators.map(async ({ service, operator }) => {
      const name = service.typeName;
      const cursor = cursors[name] ?? { token: "" };
      if (cursor.isOver) {
        const backMs = Number.NEGATIVE_INFINITY;
        return { name, cursor, calls: [], next: undefined, backMs, looked: 0, unread: 0 };
      }
      const page = await operator.listCalls(filter, {
        pageSize,
        ...(cursor.token !== "" && { pageToken: cursor.token }),
      });
      const calls = afterCursor(page.calls, cursor);
      const last = page.nextPageToken === undefined;
      // Older calls of it may follow.
      const backMs = last
        ? Number.NEGATIVE_INFINITY
        : (page.lookedBackTo?.getTime() ?? page.calls.at(-1)?.at.getTime() ?? 0);
      const { looked, unread } = page;
      return { name, cursor, calls, next: page.nextPageToken, backMs, looked, unread };
    }),
  );
  const backMs = Math.max(Number.NEGATIVE_INFINITY, ...pages.map((page) => page.backMs));
  const calls = pages
    .flatMap(({ name, calls, backMs: itsMs }) =>
      calls
        .filter(({ at }) => itsMs === backMs || at.getTime() >= backMs)
        .map((call) => ({ service: name, call })),
    )
    .sort((a, b) => b.call.at.getTime() - a.call.at.getTime())
    .slice(0, pageSize);
  const next: Record<string, Cursor> = {};
  for (const page of pages) {
    const its = calls.filter(({ service }) => service === page.name);
    next[page.name] = cursorAfter(page, its.length);
  }
  const isOver = Object.values(next).every((cursor) => cursor.isOver);
  const listedTo = calls.length === pageSize ? calls.at(-1)?.call.at.getTime() : undefined;
  const lookedMs = Math.max(backMs, listedTo ?? backMs);
  return {
    calls,
    nextPageToken: isOver ? "" : writeCursors(next),
    lookedBackTo: isOver || !Number.isFinite(lookedMs) ? undefined : new Date(lookedMs),
    looked: pages.reduce((sum, page) => sum + page.looked, 0),
    unread: pages.reduce((sum, page) => sum + page.unread, 0),
  };
}

interface ServicePage {
  readonly cursor: Cursor;
  readonly calls: readonly ListedCall[];
  readonly next: string | undefined;
}

function cursorAfter({ cursor, calls, next }: ServicePage, listed: number): Cursor {
  if (listed < calls.length) {
    const last = calls[listed - 1];
    return last ? { token: cursor.token, atMs: last.at.getTime(), id: idOf(last) } : cursor;
  }
  return cursor.isOver || next === undefined ? { token: "", isOver: true } : { token: next };
}

/** The calls of a page that were not listed yet, also when some have come or gone since. */
function afterCursor(calls: readonly ListedCall[], { atMs, id }: Cursor): readonly ListedCall[] {
  if (atMs === undefined) {
    return calls;
  }
  const last = calls.findIndex((call) => idOf(call) === id && call.at.getTime() === atMs);
  return last >= 0 ? calls.slice(last + 1) : calls.filter((call) => call.at.getTime() <= atMs);
}

function idOf({ method, owner, callId }: ListedCall): string {
  return `${method} ${owner} ${callId}`;
}

function writeCursors(cursors: Readonly<Record<string, Cursor>>): string {
  return Buffer.from(JSON.stringify(cursors)).toString("base64url");
}

function readCursors(token: string): Record<string, Cursor> {
  try {
    const cursors = JSON.parse(Buffer.from(token, "base64url").toString()) as object;
    const isWhole = Object.values(cursors).every(
      (cursor) =>
        typeof cursor?.token === "string" &&
        ["undefined", "number"].includes(typeof cursor.atMs) &&
        ["undefined", "string"].includes(typeof cursor.id),
    );
    if (isWhole) {
      return cursors as Record<string, Cursor>;
    }
  } catch {
    // Said below.
  }
  throw invalid("the token is not of a list: begin anew, without a token");
}
