import type { ReactNode } from "react";
import type { Attempt, CallStory } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { callStates } from "./call-state.js";
import { durationText } from "./format.js";
import { Link } from "./link.js";
import { pathWith } from "./location.js";
import { stateName } from "./states.js";
import { Ago, Clock } from "./time.js";
import { dateOf } from "./timestamps.js";
import { useNow } from "./use-now.js";

interface Point {
  at?: Date | undefined;
  tone: "" | "good" | "bad" | "warn" | "now";
  what: ReactNode;
  more?: ReactNode;
}

/** What happened to a call, the first thing first. */
export function CallTimeline({ story }: { story: CallStory }) {
  const now = useNow();
  return (
    <ol className="timeline">
      {pointsOf(story, now).map(({ at, tone, what, more }, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: points are only added
        <li key={index} className={tone}>
          <span className="when">{at && <Clock at={at} />}</span>
          <span className="point" />
          <div className="what">
            <span>{what}</span>
            {more}
          </div>
        </li>
      ))}
    </ol>
  );
}

function pointsOf(story: CallStory, now: number): Point[] {
  const state = stateName(story.state);
  const accepted = dateOf(story.acceptedAt);
  const starts = dateOf(story.startsAt);
  const ended = dateOf(story.endedAt);
  const points: Point[] = [
    {
      at: accepted,
      tone: "",
      what: accepted ? "Accepted by the server" : "Accepted, nobody knows when",
    },
  ];
  if (starts && (state === "scheduled" || !accepted || starts > accepted)) {
    points.push({
      at: starts,
      tone: state === "scheduled" ? "now" : "",
      what:
        state === "scheduled" ? (
          <>
            Starts <Ago at={starts} />
          </>
        ) : (
          "Due"
        ),
    });
  }
  for (const attempt of story.attempts) {
    points.push(...attemptPoints(attempt, story, now));
  }
  if (state === "queued") {
    points.push({
      tone: "now",
      what: "Waits for a worker",
      more: accepted && (
        <p className="soft">for {durationText(now - Number(starts ?? accepted))}</p>
      ),
    });
  }
  if (ended) {
    points.push({
      at: ended,
      tone: state === "succeeded" ? "good" : state === "failed" ? "bad" : "warn",
      what: callStates[state],
      more: accepted && (
        <p className="soft">
          {durationText(Number(ended) - Number(accepted))} after it was accepted
        </p>
      ),
    });
  }
  return points;
}

function attemptPoints(
  { attempt, worker, startedAt, endedAt, error, retryAt }: Attempt,
  { name, state }: CallStory,
  now: number,
): Point[] {
  const started = dateOf(startedAt);
  const ended = dateOf(endedAt);
  const retry = dateOf(retryAt);
  const isRunning = !ended && stateName(state) === "running";
  const points: Point[] = [
    {
      at: started ?? ended,
      tone: error ? "bad" : isRunning ? "now" : "",
      what: (
        <>
          Attempt {attempt}
          {worker && (
            <>
              {" "}
              on{" "}
              <Link
                className="mono"
                href={pathWith("/workers", { service: name?.service ?? "", worker })}
              >
                {worker}
              </Link>
            </>
          )}
        </>
      ),
      more: (
        <>
          {isRunning && started && (
            <p className="soft">runs for {durationText(now - Number(started))}</p>
          )}
          {started && ended && (
            <p className="soft">took {durationText(Number(ended) - Number(started))}</p>
          )}
          {error && (
            <p>
              <span className="bad-text">{error.code}</span> {error.message}
            </p>
          )}
          {retry && stateName(state) === "retrying" && Number(retry) > now && (
            <p className="warn-text">
              next attempt <Ago at={retry} />
            </p>
          )}
        </>
      ),
    },
  ];
  return points;
}
