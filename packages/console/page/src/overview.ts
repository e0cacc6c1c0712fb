import { createContext, useContext } from "react";
import type { WatchOverviewResponse } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { consoleClient } from "./console-client.js";
import { useWatch } from "./use-watch.js";

interface Overview {
  value: WatchOverviewResponse | undefined;
  error: unknown;
}

/** What runs and what is wrong; one stream for all parts of the page. */
export const OverviewContext = createContext<Overview>({ value: undefined, error: undefined });

export function useOverview(): Overview {
  return useContext(OverviewContext);
}

/** How often it is asked for beside another stream, in ms. */
const briefMs = 10_000;

/** A page with a stream of its own asks for it now and then: a browser has six connections for all its tabs. */
export function useOverviewStream(hasOtherStream: boolean): Overview {
  return useWatch("overview", hasOtherStream ? looks : watch, {
    round: Number(hasOtherStream),
    isBrief: hasOtherStream,
  });
}

function watch(signal: AbortSignal): AsyncIterable<WatchOverviewResponse> {
  return consoleClient.watchOverview({}, { signal });
}

async function* looks(signal: AbortSignal): AsyncGenerator<WatchOverviewResponse> {
  while (!signal.aborted) {
    const seen = new AbortController();
    for await (const overview of watch(AbortSignal.any([signal, seen.signal]))) {
      seen.abort();
      yield overview;
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, briefMs));
  }
}
