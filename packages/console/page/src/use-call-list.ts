import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useMemo, useRef } from "react";
import type {
  CallSummary,
  ListCallsResponse,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { filterOf, type ListFilter } from "./call-filter.js";
import { consoleClient } from "./console-client.js";
import { dateOf } from "./timestamps.js";

/** How often a live list asks, in ms. */
const livelyMs = 2_000;
const headSize = 200;
const pageSize = 1_000;

/**
 * The calls that fit a filter, the newest first, as far as they were asked for. A live list asks
 * for its first page again and again, and puts what is new on top; one that looks for a text does
 * not, as each look reads all that calls hold.
 */
export function useCallList(filter: ListFilter, wantsLive: boolean) {
  const isLive = wantsLive && filter.text === "";
  const key = ["calls", JSON.stringify(filter)];
  const pages = useInfiniteQuery({
    queryKey: key,
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) =>
      consoleClient.listCalls(
        {
          filter: filterOf(filter),
          pageSize: pageParam ? pageSize : headSize,
          pageToken: pageParam,
        },
        { signal },
      ),
    getNextPageParam: (last) => last.nextPageToken || undefined,
    // Live calls come by the head: all pages again would be much for the server.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    structuralSharing: false,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
  const head = useQuery({
    queryKey: [...key, "head"],
    queryFn: ({ signal }) =>
      consoleClient.listCalls({ filter: filterOf(filter), pageSize: headSize }, { signal }),
    enabled: isLive && pages.isSuccess,
    refetchInterval: livelyMs,
    gcTime: 0,
  });
  // An id that is whole is found by the server's index, however many calls there are.
  const whole = useQuery({
    queryKey: [...key, "whole"],
    queryFn: ({ signal }) =>
      consoleClient.listCalls({ filter: filterOf(filter, { isWholeId: true }) }, { signal }),
    enabled: filter.id !== "",
    refetchInterval: isLive ? livelyMs : false,
    gcTime: 0,
    retry: false,
  });
  const listed = pages.data?.pages;
  const known = useMemo(() => flatten(listed?.map(({ calls }) => calls) ?? []), [listed]);
  const heads = useRef(new Map<string, CallSummary>());
  const { calls, hasGap } = useMemo(() => {
    const latest = head.data;
    for (const call of latest?.calls ?? []) {
      heads.current.set(keyOf(call), call);
    }
    return withHead(known, heads.current, latest, whole.data?.calls ?? []);
  }, [known, head.data, whole.data]);
  const sum = (of: (page: ListCallsResponse) => number) =>
    listed?.reduce((total, page) => total + of(page), 0) ?? 0;
  return {
    calls,
    hasGap,
    isLive,
    pages,
    lookedBackTo: dateOf(listed?.at(-1)?.lookedBackTo),
    looked: sum((page) => page.looked),
    unread: sum((page) => page.unread),
  };
}

/** Each call once, in the order of the pages. */
function flatten(lists: readonly (readonly CallSummary[])[]): {
  calls: CallSummary[];
  keys: Set<string>;
} {
  const keys = new Set<string>();
  const calls: CallSummary[] = [];
  for (const list of lists) {
    for (const call of list) {
      const key = keyOf(call);
      if (!keys.has(key)) {
        keys.add(key);
        calls.push(call);
      }
    }
  }
  return { calls, keys };
}

/** Puts what is new on top, and takes out what does not fit any more, without a look at all of a long list. */
function withHead(
  known: { calls: readonly CallSummary[]; keys: ReadonlySet<string> },
  heads: ReadonlyMap<string, CallSummary>,
  latest: ListCallsResponse | undefined,
  whole: readonly CallSummary[],
): { calls: readonly CallSummary[]; hasGap: boolean } {
  const inHead = new Set(latest?.calls.map(keyOf));
  const wholeKeys = new Set(whole.map(keyOf));
  // What is as new as the head, and not in it, has ended or changed.
  const oldest = latest?.calls.at(-1);
  const isAll = latest !== undefined && latest.nextPageToken === "";
  const since = isAll ? Number.NEGATIVE_INFINITY : oldest ? atOf(oldest) : Number.POSITIVE_INFINITY;
  const hasGone = (call: CallSummary, key: string) =>
    latest !== undefined && atOf(call) > since && !inHead.has(key);
  const top = [
    ...whole,
    ...[...heads.values()]
      .filter((call) => !known.keys.has(keyOf(call)) && !hasGone(call, keyOf(call)))
      .sort((a, b) => atOf(b) - atOf(a)),
  ].filter((call, index) => index < whole.length || !wholeKeys.has(keyOf(call)));
  const from = known.calls.findIndex((call) => atOf(call) < since);
  const changed = from < 0 ? known.calls : known.calls.slice(0, from);
  const kept = changed.flatMap((call) => {
    const key = keyOf(call);
    return hasGone(call, key) || wholeKeys.has(key) ? [] : [heads.get(key) ?? call];
  });
  const rest = from < 0 ? [] : known.calls.slice(from);
  const newest = known.calls[0];
  return {
    calls: [
      ...top,
      ...kept,
      ...(wholeKeys.size > 0 ? rest.filter((c) => !wholeKeys.has(keyOf(c))) : rest),
    ],
    hasGap: !isAll && !!oldest && !!newest && heads.size <= headSize && atOf(oldest) > atOf(newest),
  };
}

const keys = new WeakMap<CallSummary, string>();

export function keyOf(call: CallSummary): string {
  let key = keys.get(call);
  if (key === undefined) {
    const { name } = call;
    key = name ? `${name.service}/${name.method}/${name.owner}/${name.callId}` : "";
    keys.set(call, key);
  }
  return key;
}

function atOf({ at }: CallSummary): number {
  return at ? Number(at.seconds) * 1_000 + at.nanos / 1e6 : 0;
}
