import { useState } from "react";
import { Ability, BulkAct } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { ActButton } from "./act-button.js";
import { BulkDialog } from "./bulk-dialog.js";
import { describeFilter, filterOf, type ListFilter, readFilter, toQuery } from "./call-filter.js";
import { CallList } from "./call-list.js";
import { callStates, openStates, StateMark } from "./call-state.js";
import { goTo, pathWith, usePlace } from "./location.js";
import { MethodSelect } from "./method-select.js";
import { useSession } from "./session.js";
import { useTitle } from "./use-title.js";

/** The calls that fit a filter. The filter is in the address: it can be shared. */
export function CallsPage() {
  useTitle("Calls");
  const { query } = usePlace();
  const filter = readFilter(query);
  const { masked } = useSession();
  const { service, owner, since, until } = filter;
  // On a phone what is seldom used is folded, and nothing that counts is.
  const [isUnfolded, setUnfolded] = useState([service, owner, since, until].some(Boolean));
  const [isLive, setLive] = useState(true);
  const [act, setAct] = useState<BulkAct>();
  const change = (part: Partial<ListFilter>) =>
    goTo(pathWith("/calls", toQuery({ ...filter, ...part })), { replace: true });
  const areOpen = filter.states.length > 0 && filter.states.every((s) => openStates.includes(s));
  const areFailed = filter.states.length === 1 && filter.states[0] === "failed";
  const isFiltered = Object.keys(toQuery(filter)).some((name) => toQuery(filter)[name]?.length);
  return (
    <>
      <div className="head">
        <h1>Calls</h1>
        <div className="acts">
          {areOpen && (
            <ActButton
              ability={Ability.CANCEL}
              service={filter.service}
              onAct={() => setAct(BulkAct.CANCEL)}
            >
              Cancel all that fit…
            </ActButton>
          )}
          {areFailed && (
            <>
              <ActButton
                ability={Ability.REPLAY}
                service={filter.service}
                onAct={() => setAct(BulkAct.REPLAY)}
              >
                Replay all that fit…
              </ActButton>
              <ActButton
                ability={Ability.DISCARD}
                service={filter.service}
                onAct={() => setAct(BulkAct.DISCARD)}
              >
                Discard all that fit…
              </ActButton>
            </>
          )}
          <button
            type="button"
            aria-pressed={isLive && filter.text === ""}
            disabled={filter.text !== ""}
            onClick={() => setLive(!isLive)}
          >
            Live
          </button>
        </div>
      </div>
      <search className="filters">
        <Text
          className="grows"
          label="Id, or its beginning"
          value={filter.id}
          placeholder="invoice-42"
          onChange={(id) => change({ id })}
        />
        {!masked && (
          <Text
            className="grows"
            label="Text in request, result, error or id"
            value={filter.text}
            placeholder="4711, or ada@example.com"
            onChange={(text) => change({ text })}
          />
        )}
        <button
          type="button"
          className="unfold"
          aria-expanded={isUnfolded}
          onClick={() => setUnfolded(!isUnfolded)}
        >
          {isUnfolded ? "Fewer filters" : "More filters"}
        </button>
        <div className={isUnfolded ? "more" : "more folded"}>
          <MethodSelect
            service={filter.service}
            method={filter.method}
            onChange={(service, method) => change({ service, method, group: "" })}
          />
          <Text label="Owner" value={filter.owner} onChange={(owner) => change({ owner })} />
          <label>
            Since
            <select
              value={filter.since}
              onChange={(event) => change({ since: event.target.value })}
            >
              <option value="">any time</option>
              <option value="15m">15 minutes ago</option>
              <option value="1h">1 hour ago</option>
              <option value="24h">24 hours ago</option>
              <option value="7d">7 days ago</option>
              {/^\d{4}-/.test(filter.since) && <option value={filter.since}>{filter.since}</option>}
            </select>
          </label>
          <label>
            Until
            <input
              type="datetime-local"
              value={localTime(filter.until)}
              onChange={(event) => change({ until: utcTime(event.target.value) })}
            />
          </label>
        </div>
        <fieldset className="chips">
          <legend className="hidden">States</legend>
          {Object.keys(callStates).map((state) => {
            const isOn = filter.states.includes(state);
            const states = isOn
              ? filter.states.filter((each) => each !== state)
              : [...filter.states, state];
            return (
              <button
                key={state}
                type="button"
                aria-pressed={isOn}
                onClick={() => change({ states, group: "" })}
              >
                <StateMark state={state} />
              </button>
            );
          })}
          {isFiltered && (
            <button
              type="button"
              className="quiet"
              onClick={() => goTo("/calls", { replace: true })}
            >
              Clear
            </button>
          )}
        </fieldset>
      </search>
      {filter.group && (
        <p className="notice">
          Only those whose error is like the one of the group.{" "}
          <button type="button" className="quiet" onClick={() => change({ group: "" })}>
            Show all that failed
          </button>
        </p>
      )}
      <CallList key={query.toString()} filter={filter} isLive={isLive} isFiltered={isFiltered} />
      {act !== undefined && (
        <BulkDialog
          act={act}
          filter={filterOf(filter)}
          what={describeFilter(filter)}
          onClose={() => setAct(undefined)}
        />
      )}
    </>
  );
}

/** A time of the address, which means the same in all time zones, as a field has it; and back. */
function localTime(text: string): string {
  const time = new Date(text);
  const minutes = time.getTimezoneOffset();
  return Number.isNaN(minutes)
    ? ""
    : new Date(time.getTime() - minutes * 60_000).toISOString().slice(0, 16);
}

function utcTime(text: string): string {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? "" : time.toISOString();
}

/** A field that tells after a pause: each change asks the server. */
function Text({
  label,
  value,
  placeholder,
  className,
  onChange,
}: {
  label: string;
  value: string;
  placeholder?: string;
  className?: string;
  onChange: (value: string) => void;
}) {
  const [typed, setTyped] = useState(value);
  const [known, setKnown] = useState(value);
  const [timer, setTimer] = useState<ReturnType<typeof setTimeout>>();
  if (known !== value) {
    setKnown(value);
    setTyped(value);
  }
  const tell = (text: string) => {
    clearTimeout(timer);
    if (text !== value) {
      onChange(text.trim());
    }
  };
  return (
    <label className={className}>
      {label}
      <input
        value={typed}
        placeholder={placeholder}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => {
          const { value } = event.target;
          setTyped(value);
          clearTimeout(timer);
          setTimer(setTimeout(() => tell(value), 400));
        }}
        onBlur={() => tell(typed)}
        onKeyDown={(event) => event.key === "Enter" && tell(typed)}
      />
    </label>
  );
}
