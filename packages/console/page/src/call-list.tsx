import { defaultRangeExtractor, useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import type { CallSummary } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { type ListFilter, toQuery } from "./call-filter.js";
import { StateMark } from "./call-state.js";
import { Empty } from "./empty.js";
import { Failure } from "./failure.js";
import { countText, plural } from "./format.js";
import { Link } from "./link.js";
import { pathWith } from "./location.js";
import { callPath, shortService } from "./paths.js";
import { useSession } from "./session.js";
import { stateName } from "./states.js";
import { Clock } from "./time.js";
import { dateOf } from "./timestamps.js";
import { keyOf, useCallList } from "./use-call-list.js";

/** Requests and results that are looked into for a text before somebody is asked whether to go on. */
const lookStep = 50_000;

/** A list of calls. Only the rows in view are in the document, however many there are. */
export function CallList({
  filter,
  isLive: wantsLive,
  isFiltered,
}: {
  filter: ListFilter;
  isLive: boolean;
  isFiltered: boolean;
}) {
  const list = useCallList(filter, wantsLive);
  const { calls, hasGap, isLive, pages, lookedBackTo, looked } = list;
  const [mostLooked, setMostLooked] = useState(lookStep);
  const body = useRef<HTMLDivElement>(null);
  const [here, setHere] = useState(0);
  const rowHeight = useRowHeight();
  const rows = useVirtualizer({
    count: calls.length,
    getScrollElement: () => body.current,
    estimateSize: () => rowHeight,
    overscan: 12,
    getItemKey: (index) => keyOf(calls[index] as CallSummary),
    // Where the keyboard is, stays.
    rangeExtractor: (range) => {
      const shown = defaultRangeExtractor(range);
      return shown.includes(here) || here >= calls.length
        ? shown
        : [...shown, here].sort((a, b) => a - b);
    },
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: rows of another height are measured anew
  useEffect(() => rows.measure(), [rowHeight]);

  const items = rows.getVirtualItems();
  const last = items.at(-1)?.index ?? -1;
  const { hasNextPage, isFetchingNextPage, fetchNextPage, isError } = pages;
  const isPaused = filter.text !== "" && looked >= mostLooked && hasNextPage;
  const isAtEnd = hasNextPage && !isFetchingNextPage && !isError && last >= calls.length - 120;
  const wantsMore = isAtEnd && !isPaused;
  // A page may have few calls, or none, and others may follow.
  useEffect(() => {
    if (wantsMore) {
      void fetchNextPage();
    }
  }, [wantsMore, fetchNextPage]);

  const go = (event: KeyboardEvent) => {
    const perPage = Math.max(1, Math.floor((body.current?.clientHeight ?? 0) / rowHeight) - 1);
    const to = {
      ArrowDown: here + 1,
      ArrowUp: here - 1,
      PageDown: here + perPage,
      PageUp: here - perPage,
      Home: 0,
      End: calls.length - 1,
    }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    event.preventDefault();
    const next = Math.max(0, Math.min(calls.length - 1, to));
    setHere(next);
    rows.scrollToIndex(next, { align: "auto" });
    requestAnimationFrame(() =>
      requestAnimationFrame(() =>
        body.current
          ?.querySelector<HTMLElement>(`[data-index="${next}"]`)
          ?.focus({ preventScroll: true }),
      ),
    );
  };

  return (
    <section className="card list" aria-label="Calls that fit">
      <Failure error={pages.error} />
      <div className="names" aria-hidden="true">
        <span>State</span>
        <span>At</span>
        <span>Method</span>
        <span>Call id</span>
        <span>Owner</span>
        <span>Tries</span>
        <span>Error</span>
      </div>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: arrows go from row to row, which are links */}
      <div className="body" ref={body} onKeyDown={go}>
        {pages.isPending ? (
          <Waiting />
        ) : calls.length === 0 ? (
          <NoCall filter={filter} isFiltered={isFiltered} isOver={!hasNextPage} />
        ) : (
          <ul className="tall" style={{ height: rows.getTotalSize() }}>
            {items.map(({ index, key, start }) => (
              <li key={key}>
                <Row
                  call={calls[index] as CallSummary}
                  index={index}
                  count={calls.length}
                  start={start}
                  isHere={index === here}
                  onFocus={() => setHere(index)}
                />
              </li>
            ))}
          </ul>
        )}
      </div>
      <footer className="list-foot">
        <span aria-live="off">
          {pages.isSuccess &&
            (hasNextPage
              ? `${plural(calls.length, "call")} so far${lookedBackTo && isFetchingNextPage ? ", looking further back…" : ""}`
              : plural(calls.length, "call"))}
        </span>
        {filter.text && pages.isSuccess && <Cost {...list} />}
        {isPaused && (
          <button type="button" onClick={() => setMostLooked(looked + lookStep)}>
            Look into {countText(lookStep)} more
          </button>
        )}
        {hasGap && (
          <span className="warn-text">
            Calls come faster than a list can follow: reload it to see those in between
          </span>
        )}
        <span>
          {isLive
            ? "Live: what is new comes on top"
            : filter.text
              ? "Not live: each look reads all that calls hold"
              : "Not live"}
        </span>
      </footer>
    </section>
  );
}

/** Stands where no call is, and says how one is found. */
function NoCall({
  filter,
  isFiltered,
  isOver,
}: {
  filter: ListFilter;
  isFiltered: boolean;
  isOver: boolean;
}) {
  const { masked } = useSession();
  const { id, text } = filter;
  if (!isFiltered) {
    return isOver ? (
      <Empty title="There are no calls yet">
        Calls of durable methods appear here when a client makes them: jetrpc call METHOD makes one.
      </Empty>
    ) : (
      <Waiting />
    );
  }
  return (
    <Empty title={isOver ? "No call fits" : "No call fits so far"}>
      {id && !text && !masked && (
        <>
          No id begins with “{id}”.{" "}
          <Link href={pathWith("/calls", toQuery({ ...filter, id: "", text: id }))}>
            Look for “{id}” in requests, results, errors and ids
          </Link>
          .{" "}
        </>
      )}
      {text
        ? "The server keeps the request of a call that has not ended or has failed, and the result of one that succeeded. Leave out a state, choose a longer time, or look for a shorter text."
        : "Leave out a state, choose a longer time, or check the beginning of the id: it has to be exact, with capitals."}
    </Empty>
  );
}

/** What a search in texts has cost so far, and what it could not see. */
function Cost({ looked, unread, lookedBackTo }: ReturnType<typeof useCallList>) {
  return (
    <span>
      Looked into {plural(looked, "message")}
      {lookedBackTo && (
        <>
          , back to <Clock at={lookedBackTo} />
        </>
      )}
      {unread > 0 && `; ${countText(unread)} too large or of another schema`}
    </span>
  );
}

function Row({
  call,
  index,
  count,
  start,
  isHere,
  onFocus,
}: {
  call: CallSummary;
  index: number;
  count: number;
  start: number;
  isHere: boolean;
  onFocus: () => void;
}) {
  const { name, state, at, attempts, error } = call;
  if (!name) {
    return null;
  }
  const { service, method, owner, callId } = name;
  const moment = dateOf(at);
  return (
    <Link
      className="row"
      href={callPath(name)}
      data-index={index}
      tabIndex={isHere ? 0 : -1}
      onFocus={onFocus}
      style={{ transform: `translateY(${start}px)` }}
      title={error ? `${error.code}: ${error.message}` : undefined}
    >
      <span className="cell of-state">
        <StateMark state={stateName(state)} />
      </span>
      <span className="cell of-time small">{moment && <Clock at={moment} />}</span>
      <span className="cell of-method" title={`${service}.${method}`}>
        {method} <span className="soft">{shortService(service)}</span>
      </span>
      <span className="cell of-id mono">{callId}</span>
      <span className="cell of-owner soft">{owner === "_" ? "" : owner}</span>
      <span className="cell of-attempts soft">{attempts || ""}</span>
      <span className="cell of-error small">
        {error && (
          <>
            <span className="bad-text">{error.code}</span> {error.message}
          </>
        )}
      </span>
      <span className="hidden">
        {" "}
        {countText(index + 1)} of {countText(count)}
      </span>
    </Link>
  );
}

/** Rows that are about to come. */
function Waiting() {
  return (
    <div aria-busy="true">
      <span className="hidden">Looking for calls…</span>
      {Array.from({ length: 8 }, (_, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all alike
        <div key={index} className="row-waits" aria-hidden="true">
          <span className="waits">{"0".repeat(12 + ((index * 7) % 20))}</span>
        </div>
      ))}
    </div>
  );
}

const narrow = matchMedia("(width < 56rem)");

function useRowHeight(): number {
  const [isNarrow, setNarrow] = useState(narrow.matches);
  useEffect(() => {
    const change = () => setNarrow(narrow.matches);
    narrow.addEventListener("change", change);
    return () => narrow.removeEventListener("change", change);
  }, []);
  return isNarrow ? 58 : 34;
}
