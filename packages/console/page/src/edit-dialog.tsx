import { useQuery } from "@tanstack/react-query";
import { useEffect, useId, useRef, useState } from "react";
import type { CallName, FieldProblem } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { AskDialog } from "./ask-dialog.js";
import { consoleClient } from "./console-client.js";
import { errorText } from "./error-text.js";
import { plural } from "./format.js";

/** Corrects the request of a failed call, checks each field while one writes, and replays it. */
export function EditDialog({
  name,
  request,
  onReplayed,
  onClose,
}: {
  name: Pick<CallName, "service" | "method" | "owner" | "callId">;
  request: string;
  onReplayed: (replayed: boolean) => void;
  onClose: () => void;
}) {
  // What it was when the dialog was opened: the page below is live.
  const [before] = useState(request);
  const [text, setText] = useState(before);
  const settled = useSettled(text, 300);
  const field = useRef<HTMLTextAreaElement>(null);
  const label = useId();
  const problemsId = useId();
  const check = useQuery({
    queryKey: ["check", name, settled],
    queryFn: ({ signal }) => consoleClient.checkRequest({ name, requestJson: settled }, { signal }),
    staleTime: 30_000,
    placeholderData: (last) => last,
  });
  const problems = check.data?.problems ?? [];
  const isChecked = settled === text && !check.isFetching && check.isSuccess;
  const goTo = (problem: FieldProblem) => {
    const area = field.current;
    if (!area) {
      return;
    }
    const [from, to] = rangeOf(text, problem);
    area.focus();
    area.setSelectionRange(from, to);
  };
  return (
    <AskDialog
      title="Correct the request and replay the call"
      act="Replay 1 call"
      isWide
      isReady={isChecked && problems.length === 0}
      onClose={onClose}
      onAct={async () => {
        const { replayed } = await consoleClient.replayCall({ name, requestJson: text });
        onReplayed(replayed);
      }}
    >
      <p className="soft">
        The call <span className="mono">{name.callId}</span> queues anew with this request. Who
        submits the old one again with the same id gets already_exists.
      </p>
      <label htmlFor={label}>Request, as JSON</label>
      <textarea
        id={label}
        ref={field}
        value={text}
        spellCheck={false}
        autoComplete="off"
        aria-invalid={problems.length > 0}
        aria-describedby={problemsId}
        rows={Math.min(24, Math.max(8, text.split("\n").length + 1))}
        onChange={(event) => setText(event.target.value)}
      />
      <div id={problemsId} role="status" className="field-problems">
        {check.isError ? (
          <p className="bad-text">{errorText(check.error)}</p>
        ) : problems.length > 0 ? (
          <>
            <p className="bad-text">{plural(problems.length, "problem")}:</p>
            {problems.map((problem) => (
              <button
                type="button"
                key={`${problem.path}${problem.problem}`}
                onClick={() => goTo(problem)}
              >
                {problem.path && <strong className="mono">{problem.path}</strong>}{" "}
                {problem.line > 0 && `line ${problem.line}, column ${problem.column}: `}
                {problem.problem}
              </button>
            ))}
          </>
        ) : (
          <p className="soft">
            {!isChecked
              ? "Checking…"
              : text === before
                ? "It fits the schema. Nothing is changed yet."
                : "It fits the schema."}
          </p>
        )}
      </div>
    </AskDialog>
  );
}

/** A value when it has not changed for a time. */
function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

/** Where a problem is in a text, about. */
function rangeOf(text: string, { path, line, column }: FieldProblem): [number, number] {
  if (line > 0) {
    const before = text.split("\n").slice(0, line - 1);
    const at = before.reduce((sum, each) => sum + each.length + 1, 0) + Math.max(0, column - 1);
    return [at, Math.min(at + 1, text.length)];
  }
  let at = 0;
  let length = 0;
  for (const [part] of path.matchAll(/[A-Za-z_]\w*/g)) {
    const found = text.indexOf(`"${part}"`, at + length);
    if (found >= 0) {
      at = found;
      length = part.length + 2;
    }
  }
  return [at, at + length];
}
