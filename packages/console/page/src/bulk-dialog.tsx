import type { MessageInitShape } from "@bufbuild/protobuf";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useId, useRef, useState } from "react";
import {
  type ActOnCallsResponse,
  BulkAct,
  type CallFilterSchema,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { consoleClient } from "./console-client.js";
import { errorText, isLost } from "./error-text.js";
import { countText, plural } from "./format.js";
import { Link } from "./link.js";
import { callPath } from "./paths.js";
import { useModal } from "./use-modal.js";

type Filter = MessageInitShape<typeof CallFilterSchema>;

const words = {
  [BulkAct.UNSPECIFIED]: ["Act", "acted upon", ""],
  [BulkAct.CANCEL]: [
    "Cancel",
    "canceled",
    "Their callers get the error canceled. What runs is told to stop. It cannot be undone.",
  ],
  [BulkAct.REPLAY]: [
    "Replay",
    "replayed",
    "They queue anew with the requests that they had. Their attempts are counted from 1.",
  ],
  [BulkAct.DISCARD]: [
    "Discard",
    "discarded",
    "Their dead letters are removed, with requests and files. It cannot be undone.",
  ],
} as const;

/**
 * Acts on all calls that fit a filter: counts them first, asks, and shows how far it is. When
 * the console is lost in the middle, it goes on where it was.
 */
export function BulkDialog({
  act,
  filter,
  what,
  onClose,
}: {
  act: BulkAct;
  filter: Filter;
  what: string;
  onClose: () => void;
}) {
  const dialog = useModal();
  const heading = useId();
  const queries = useQueryClient();
  const [verb, participle, consequence] = words[act];
  const [count, setCount] = useState<ActOnCallsResponse>();
  const [progress, setProgress] = useState<ActOnCallsResponse>();
  const [phase, setPhase] = useState<"counting" | "asking" | "acting" | "over">("counting");
  const [problem, setProblem] = useState("");
  /** What was done before the stream that runs, and in it. */
  const sums = useRef<ActOnCallsResponse>(undefined);
  const stop = useRef<AbortController>(null);
  // The filter is asked for once, as it was when the dialog was opened.
  const asked = useRef(filter);

  useEffect(() => {
    const controller = new AbortController();
    const dry = { act, filter: asked.current, dryRun: true };
    const counting = async () => {
      for await (const found of consoleClient.actOnCalls(dry, { signal: controller.signal })) {
        setCount(found);
      }
      setPhase("asking");
    };
    counting().catch((error) => !controller.signal.aborted && setProblem(errorText(error)));
    return () => controller.abort();
  }, [act]);
  useEffect(() => () => stop.current?.abort(), []);

  const run = async (from: string) => {
    const controller = new AbortController();
    stop.current = controller;
    setPhase("acting");
    setProblem("");
    let resumeToken = from;
    for (let failures = 0; ; failures++) {
      try {
        const request = { act, filter: asked.current, resumeToken };
        const before = sums.current;
        for await (const step of consoleClient.actOnCalls(request, { signal: controller.signal })) {
          failures = 0;
          resumeToken = step.resumeToken;
          setProgress(add(before, step));
          sums.current = add(before, step);
        }
        break;
      } catch (error) {
        if (controller.signal.aborted || !isLost(error)) {
          setProblem(controller.signal.aborted ? "" : errorText(error));
          break;
        }
        setProblem("The console does not answer. It goes on when it is back.");
        await new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** failures, 4_000)));
        if (controller.signal.aborted) {
          break;
        }
        setProblem("");
      }
    }
    setPhase("over");
    await queries.invalidateQueries();
  };
  const matched = Number(count?.matched ?? 0);
  const done = Number(progress?.done ?? 0);
  const handled = done + Number(progress?.skipped ?? 0) + Number(progress?.failed ?? 0);
  const isComplete = progress?.isComplete === true;
  return (
    <dialog
      ref={dialog}
      aria-labelledby={heading}
      onCancel={(event) => {
        if (phase === "acting") {
          event.preventDefault();
          stop.current?.abort();
        }
      }}
      onClose={onClose}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run(sums.current?.resumeToken ?? "");
        }}
      >
        <h2 id={heading}>
          {verb} {phase === "counting" ? "all that fit" : plural(matched, "call")}?
        </h2>
        <div className="dialog-body">
          <p>
            It acts on all <strong>{what}</strong>.
          </p>
          {phase !== "acting" && phase !== "over" && <p className="soft">{consequence}</p>}
          <div role="status" className="bulk-status">
            {phase === "counting" && !problem && (
              <p>Counting: {countText(matched)} so far. Nothing is changed.</p>
            )}
            {phase === "asking" && (
              <p>
                {matched === 0 ? (
                  "No call fits: there is nothing to do."
                ) : (
                  <>
                    <strong>{plural(matched, "call")}</strong> {matched === 1 ? "fits" : "fit"} now.
                  </>
                )}
              </p>
            )}
            {(phase === "acting" || phase === "over") && (
              <>
                <progress value={Math.min(handled, matched)} max={Math.max(matched, 1)}>
                  {handled}
                </progress>
                <p>
                  {phase === "over" && (isComplete ? "Done: " : "Stopped: ")}
                  {countText(done)} of {countText(matched)} {participle}
                  {!!progress?.skipped && `, ${countText(progress.skipped)} had changed meanwhile`}
                  {!!progress?.failed && `, ${countText(progress.failed)} failed`}.
                </p>
              </>
            )}
          </div>
          {!!progress?.failures.length && (
            <ul className="failures small">
              {progress.failures.map(({ name, error }) => (
                <li key={name?.callId}>
                  {name && (
                    <Link href={callPath(name)} className="mono">
                      {name.callId}
                    </Link>
                  )}{" "}
                  {error?.code}: {error?.message}
                </li>
              ))}
            </ul>
          )}
        </div>
        {problem && (
          <p role="alert" className="notice bad">
            {problem}
          </p>
        )}
        <footer>
          {phase === "acting" ? (
            <button type="button" onClick={() => stop.current?.abort()}>
              Stop
            </button>
          ) : (
            <button type="button" onClick={onClose}>
              {phase === "over" ? "Close" : "Keep as it is"}
            </button>
          )}
          {!isComplete && (
            <button
              type="submit"
              className={act === BulkAct.REPLAY ? "primary" : "danger"}
              disabled={phase === "counting" || phase === "acting" || matched === 0}
              aria-busy={phase === "acting"}
            >
              {phase === "over"
                ? "Go on"
                : `${verb} ${phase === "counting" ? "" : countText(matched)}`}
            </button>
          )}
        </footer>
      </form>
    </dialog>
  );
}

/** Figures of an act that was gone on with, and of all its parts before. */
function add(before: ActOnCallsResponse | undefined, step: ActOnCallsResponse): ActOnCallsResponse {
  return before
    ? {
        ...step,
        matched: before.matched + step.matched,
        done: before.done + step.done,
        skipped: before.skipped + step.skipped,
        failed: before.failed + step.failed,
        failures: [...before.failures, ...step.failures].slice(0, 100),
      }
    : step;
}
