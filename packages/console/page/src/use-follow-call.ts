import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type {
  CallName,
  CallStory,
  Payload,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { openStates } from "./call-state.js";
import { consoleClient } from "./console-client.js";
import { stateName } from "./states.js";
import { useWatch } from "./use-watch.js";

/** Most messages of a response that are kept and shown. */
export const mostMessages = 1_000;

export interface FollowedCall {
  story: CallStory;
  /** Messages of the response, the first one first. */
  messages: readonly Payload[];
}

/** A call, live until it has ended. `again()` looks anew after an act. */
export function useFollowCall(name: Pick<CallName, "service" | "method" | "owner" | "callId">) {
  const [round, setRound] = useState(0);
  const queries = useQueryClient();
  const key = `call ${name.service} ${name.method} ${name.owner} ${name.callId}`;
  const watched = useWatch<FollowedCall>(key, (signal) => follow(name, signal), {
    goesOn: ({ story }) => openStates.includes(stateName(story.state)),
    round,
  });
  return {
    ...watched,
    again: async () => {
      setRound((round) => round + 1);
      await queries.invalidateQueries();
    },
  };
}

async function* follow(
  name: Pick<CallName, "service" | "method" | "owner" | "callId">,
  signal: AbortSignal,
): AsyncGenerator<FollowedCall> {
  let messages: Payload[] = [];
  for await (const update of consoleClient.followCall({ name }, { signal })) {
    const { story, messagesFrom } = update;
    if (!story) {
      continue;
    }
    // A call that was replayed begins anew.
    const known = messages.slice(0, update.messages.length > 0 ? messagesFrom : story.messages);
    messages = [...known, ...update.messages].slice(0, mostMessages);
    yield { story, messages };
  }
}
