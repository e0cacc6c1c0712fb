import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  callAt,
  deliveredUpTo,
  isOpenAt,
  lookAtPlace,
  type Place,
  type PlacedCall,
  type PlaceRange,
  places,
  rangeOf,
  readPlace,
  withLogs,
} from "../ledger/call-places.js";
import type { BackwardReader } from "../link/backward-reader.js";
import type { Link } from "../link/link.js";
import { until } from "../link/until.js";
import type { ServiceBinding } from "../schema/binding.js";
import type { PageOptions, Selection } from "./call-filter.js";
import { TextSearch } from "./text-search.js";

/** Messages that one page looks at, and how long it looks, in ms; about. */
const lookLimit = 20_000;
const lookMs = 500;

/** Messages that are asked for at once, at most: headers, and all of them. */
const mostAtOnce = 4096;
const mostWhole = 256;

/** How far a list has come at a place, and where it began. */
interface Cursor extends PlaceRange {
  /** Where logs ended when the list began. */
  readonly top: number;
  /** Of a page that found few: how many messages it asked for at once, and in how many sequences. */
  readonly wanted?: number;
  readonly span?: number;
}

/** How far a list has come at each place. */
export type Cursors = Partial<Record<Place, Cursor>>;

/** A page as it was found. */
export interface PlacedPage {
  readonly calls: readonly PlacedCall[];
  /** Undefined when nothing follows. */
  readonly next: Cursors | undefined;
  readonly lookedBackToMs: number | undefined;
  /** Messages that were read, and those of them in which the text could not be looked for. */
  readonly looked: number;
  readonly unread: number;
}

/** Where a list begins: what comes later is not in it. */
export async function beginList(
  link: Link,
  service: ServiceBinding,
  selection: Selection,
): Promise<Cursors> {
  const { places: wanted, untilMs } = selection;
  const delivered = selection.isDelivered && wanted.includes("queue");
  const upTo = delivered ? await until(link, () => deliveredUpTo(link, service)) : undefined;
  const cursors: Cursors = {};
  // In the order in which a call goes through them: none is missed that moves on meanwhile.
  for (const place of places) {
    // Of calls that have not ended the log tells the state.
    const isAsked = wanted.includes(place) || place === "log";
    const range = isAsked && (await until(link, () => rangeOf(link, service, place, untilMs)));
    if (range) {
      const most = place === "queue" && upTo !== undefined ? upTo + 1 : range.before;
      cursors[place] = { ...range, before: Math.min(range.before, most), top: range.before };
    }
  }
  return cursors;
}

/** Reads the next calls of a list, the newest first. */
export async function readPage(
  link: Link,
  service: ServiceBinding,
  selection: Selection,
  cursors: Cursors,
  pageSize: number,
): Promise<PlacedPage> {
  const logBefore = cursors.log?.top ?? 0;
  const beganAt = performance.now();
  const sources = selection.places.flatMap((place) => {
    const cursor = cursors[place];
    return cursor ? new Source(link, service, selection, place, cursor, logBefore) : [];
  });
  const seen = new Set<string>();
  const calls: PlacedCall[] = [];
  let lookedBackToMs: number | undefined;
  const looked = () => sources.reduce((sum, source) => sum + source.looked, 0);
  while (calls.length < pageSize) {
    const empty = sources.filter((source) => source.isEmpty && !source.isOver);
    if (empty.length > 0) {
      // A page that took long comes as it is, with a token to go on.
      const isLate = looked() > 0 && performance.now() - beganAt > lookMs;
      if (isLate || looked() >= lookLimit) {
        break;
      }
      await Promise.all(empty.map((source) => until(link, () => source.fill(pageSize))));
      continue;
    }
    const newest = newestOf(sources);
    if (!newest) {
      break;
    }
    const found = newest.take();
    lookedBackToMs = found.atMs;
    const name = nameOf(found);
    if (!seen.has(name)) {
      seen.add(name);
      calls.push(found);
    }
  }
  const unread = sources.reduce((sum, source) => sum + source.unread, 0);
  const read = { calls, looked: looked(), unread };
  if (sources.every((source) => source.isEmpty && source.isOver)) {
    return { ...read, next: undefined, lookedBackToMs: undefined };
  }
  const stopped = sources.filter((source) => source.isEmpty && !source.isOver);
  const times = stopped.map((source) => source.lookedBackToMs ?? Number.POSITIVE_INFINITY);
  const back = Math.max(lookedBackToMs ?? 0, ...times.filter(Number.isFinite));
  const next: Cursors = { ...cursors };
  for (const source of sources) {
    next[source.place] = source.cursor;
  }
  return { ...read, next, lookedBackToMs: back || undefined };
}

function newestOf(sources: readonly Source[]): Source | undefined {
  let newest: Source | undefined;
  for (const source of sources) {
    if (!source.isEmpty && (!newest || source.newestMs > newest.newestMs)) {
      newest = source;
    }
  }
  return newest;
}

/** Finds the calls of one id: a handful, by the index that the server has of subjects. */
export async function readOneId(
  link: Link,
  service: ServiceBinding,
  selection: Selection,
): Promise<PlacedPage> {
  const all = new Map<string, PlacedCall>();
  const search = searchOf(service, selection);
  let looked = 0;
  // In the order in which a call goes through them, and back as a replay moves it: none is missed
  // that moves on meanwhile, and of one that is seen twice the later look counts.
  const order = [...places, "queue" as const].filter((each) => selection.places.includes(each));
  for (const place of order) {
    const found = await until(link, async () => {
      const messages = await lookAtPlace(link, service, place, selection.pattern);
      const calls = messages.flatMap((message) => {
        const call = callAt(service, place, message);
        return call && (search?.fits(call, message) ?? true) ? call : [];
      });
      looked += messages.length;
      return isOpenAt(place) ? withLogs(link, service, calls, Number.POSITIVE_INFINITY) : calls;
    });
    for (const call of found) {
      all.set(nameOf(call), call);
    }
  }
  const calls = [...all.values()].filter((call) => selection.fits(call));
  calls.sort((one, other) => other.atMs - one.atMs);
  return { calls, next: undefined, lookedBackToMs: undefined, looked, unread: search?.unread ?? 0 };
}

function searchOf(service: ServiceBinding, { contains }: Selection): TextSearch | undefined {
  return contains === undefined ? undefined : new TextSearch(service, contains);
}

const nameOf = ({ method, call }: PlacedCall) => `${method}.${call.suffix}`;

/** The calls of one place, the newest first. */
class Source {
  isOver = false;
  unread = 0;
  private buffer: PlacedCall[] = [];
  private readonly reader: BackwardReader;
  private wanted: number;
  /** Read and not completed: a look that failed is repeated. */
  private read: PlacedCall[] | undefined;

  constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    private readonly selection: Selection,
    readonly place: Place,
    private readonly start: Cursor,
    private readonly logBefore: number,
  ) {
    const { wanted = 0, span } = start;
    this.wanted = wanted / 2;
    this.reader = readPlace(link, service, place, selection.pattern, {
      ...start,
      span,
      withPayloads: selection.contains !== undefined,
    });
  }

  get isEmpty(): boolean {
    return this.buffer.length === 0;
  }

  get newestMs(): number {
    return this.buffer[0]?.atMs ?? 0;
  }

  get looked(): number {
    return this.reader.looked;
  }

  get lookedBackToMs(): number | undefined {
    return this.reader.lookedBackToMs;
  }

  /** Where the next page goes on. */
  get cursor(): Cursor {
    const [next] = this.buffer;
    const { first, top } = this.start;
    if (next || this.isOver) {
      return { first, top, before: next ? next.sequence + 1 : first };
    }
    // The next page goes on as this one, or a slow server would never come to look at many.
    const { before, span } = this.reader;
    return { first, top, before, wanted: this.wanted, span: Math.min(span, before) };
  }

  take(): PlacedCall {
    return this.buffer.shift() as PlacedCall;
  }

  /** Looks for further calls. */
  async fill(pageSize: number): Promise<void> {
    const { link, service, place, selection, reader } = this;
    const isOpen = isOpenAt(place);
    // Where few of many fit, the next look is a larger one.
    const search = searchOf(service, selection);
    const most = search ? mostWhole : mostAtOnce;
    const wanted = Math.min(most, Math.max(64, pageSize, 2 * this.wanted));
    this.read ??= await reader.next(wanted, (message) => {
      const call = callAt(service, place, message);
      const mayFit = call && (isOpen || selection.fits(call));
      return mayFit && (search?.fits(call, message) ?? true) ? call : undefined;
    });
    this.unread += search?.unread ?? 0;
    this.wanted = wanted;
    if (!this.read) {
      this.isOver = true;
      return;
    }
    const isOlder = (reader.lookedBackToMs ?? Number.POSITIVE_INFINITY) < (selection.sinceMs ?? 0);
    const calls = isOpen ? await withLogs(link, service, this.read, this.logBefore) : this.read;
    this.read = undefined;
    this.buffer = calls.filter((call) => selection.fits(call));
    this.isOver = isOlder || reader.before <= this.start.first;
  }
}

/** The page size of a request. Throws InvalidArgument. */
export function checkPageSize({ pageSize = 100 }: PageOptions): number {
  if (!Number.isInteger(pageSize) || pageSize < 1 || pageSize > 1000) {
    const text = `pageSize is ${pageSize}, and must be a whole number, 1 to 1000`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  return pageSize;
}

/** Writes where a list goes on, for whoever asks for that. */
export function writeToken(selection: Selection, cursors: Cursors): string {
  const text = JSON.stringify([selection.key, cursors]);
  return base64Encode(new TextEncoder().encode(text), "url");
}

const isCount = (each: unknown) => Number.isSafeInteger(each) && Number(each) >= 0;

/** Reads where a list goes on. Throws InvalidArgument for a token of another list. */
export function readToken(selection: Selection, token: string): Cursors {
  try {
    const [key, cursors] = JSON.parse(new TextDecoder().decode(base64Decode(token)));
    const isWhole = Object.entries(cursors as Cursors).every(
      ([place, cursor]) =>
        places.includes(place as Place) &&
        [cursor.first, cursor.before, cursor.top].every(isCount) &&
        [cursor.wanted, cursor.span].every((each) => each === undefined || isCount(each)) &&
        cursor.span !== 0 &&
        cursor.before <= cursor.top,
    );
    if (key === selection.key && isWhole) {
      return cursors as Cursors;
    }
  } catch {
    // Said below.
  }
  throw new ConnectError(
    "the token is not of a list with this filter: begin anew, without a token",
    Code.InvalidArgument,
  );
}
