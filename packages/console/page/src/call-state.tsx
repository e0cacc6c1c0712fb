/** The states of a call, in the order of its life, with the words of the page. */
export const callStates = {
  scheduled: "Scheduled",
  queued: "Queued",
  running: "Running",
  retrying: "Retrying",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Canceled",
  expired: "Expired",
} as const;

export type CallState = keyof typeof callStates;

export const openStates: readonly string[] = ["scheduled", "queued", "running", "retrying"];

/** A state with its mark: its form tells it apart as its color does. */
export function StateMark({ state }: { state: string }) {
  return (
    <span className={`state ${state}`}>
      <svg viewBox="0 0 12 12" aria-hidden="true">
        {marks[state as CallState]}
      </svg>
      {callStates[state as CallState] ?? state}
    </span>
  );
}

const ring = {
  fill: "none",
  stroke: "currentColor",
  strokeWidth: 1.75,
  strokeLinecap: "round",
} as const;

const marks = {
  scheduled: (
    <g {...ring}>
      <circle cx="6" cy="6" r="4.6" />
      <path d="M6 3.6V6l1.6 1.2" />
    </g>
  ),
  queued: <circle cx="6" cy="6" r="4.4" {...ring} />,
  running: (
    <g>
      <circle cx="6" cy="6" r="4.6" {...ring} opacity="0.35" />
      <path d="M6 1.4A4.6 4.6 0 0 1 10.6 6" {...ring} className="turns" />
    </g>
  ),
  retrying: <path d="M10 6a4 4 0 1 1-1.3-3M9 .9v2.4H6.6" {...ring} />,
  succeeded: <path d="M2 6.4 4.8 9.2 10.2 3" {...ring} />,
  failed: <path d="m2.6 2.6 6.8 6.8m0-6.8L2.6 9.4" {...ring} />,
  cancelled: (
    <g {...ring}>
      <circle cx="6" cy="6" r="4.6" />
      <path d="m2.9 9.1 6.2-6.2" />
    </g>
  ),
  expired: (
    <g {...ring}>
      <path d="M3 1.5h6M3 10.5h6M3.5 1.5C3.5 4.5 8.5 7.5 8.5 10.5M8.5 1.5c0 3-5 6-5 9" />
    </g>
  ),
};
