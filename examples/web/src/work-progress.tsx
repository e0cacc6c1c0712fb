import type { CallView } from "@jetrpc/react";
import { isUnderWay } from "./state-text.js";

/** How far the work on a document is. */
export function WorkProgress({
  call,
  isServed,
  text,
  label,
  made,
  total,
  isDone,
}: {
  call: CallView;
  /** Whether a worker is there; undefined while that is not known. */
  isServed: boolean | undefined;
  text: string;
  /** What is counted. */
  label: string;
  made: number;
  /** 0 while it is not known. */
  total: number;
  isDone: boolean;
}) {
  const { state, status } = call;
  // The state of a call whose last worker was lost is the one that this worker has told.
  const isAlone =
    (state === "queued" && status?.workers === 0) || (isUnderWay(call) && isServed === false);
  const attempts = status?.attempts.length ?? 0;
  return (
    <div className="progress" data-state={state}>
      <p role="status">
        {isAlone ? "No worker is there. The document waits, and is read when one comes" : text}
        {attempts > 1 && !isDone && (
          <span className="hint"> A worker was lost, and another one goes on.</span>
        )}
      </p>
      {!isDone && state !== "cancelled" && (
        <progress
          aria-label={label}
          max={total || 1}
          {...(state !== "queued" && total > 0 && { value: made })}
        />
      )}
    </div>
  );
}
